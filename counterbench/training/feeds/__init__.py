"""How training data is made, one file for each way."""
