"""Statistics of whole sets, as pseudo-values per sample."""
