"""Attacks: what a model gives away of its training data. Their numbers are metrics."""
