"""Mechanism families: one file each, for every dataset."""
