"""What of a trained network is opened when it is trained further: one way a file."""
