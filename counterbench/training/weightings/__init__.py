"""How the losses of samples are weighted, one file for each way."""
