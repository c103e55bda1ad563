"""The causal vocabulary: variables, the causal graph, samples, random streams."""
