"""Training: what is trainable, what is minimised, on what is fed."""
