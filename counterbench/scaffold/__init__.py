"""Starts for components outside of the repository."""
