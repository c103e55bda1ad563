"""The search for what of a trained model to open: spaces, trials, fronts."""
