"""Statistics of a whole set of samples, as one pseudo-value per sample whose mean is the statistic."""
