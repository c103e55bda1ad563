"""Metrics: they judge answers and do not know the contestants."""
