"""How bytes are kept: files, tensors, weights, pictures, figures."""
