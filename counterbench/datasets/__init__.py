"""A dataset yields factuals: samples, and true counterfactuals where the process behind them is known."""

from counterbench.datasets.loading import card, load, names

__all__ = ["card", "load", "names"]
