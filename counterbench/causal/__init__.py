"""What is talked about: variables, the causal graph, samples, chance."""
