"""Neural network blocks: tensors in, tensors out, nothing causal."""
