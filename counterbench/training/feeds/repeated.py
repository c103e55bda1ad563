"""The rows of the dataset, some of them more often: what is seen often is memorised first, and minorities can be made to count more."""

from __future__ import annotations

from typing import Any

import torch

from counterbench.catalog.recipes import RowsEntry
from counterbench.datasets.selection import selected
from counterbench.errors import ConfigError
from counterbench.plugins.registry import feeds
from counterbench.training.feeds.base import Fed, Feed, FeedContext, stored


@feeds.register()
class Repeated(Feed):
    """Training rows, those that meet conditions several times.

    Args:
        context: data, seed and device.
        times: how often.
        where: variable or role -> values, as in a recipe's `rows`; left out, all rows are repeated.

    Raises:
        ConfigError: for less than 2 times, or if none of the rows that the recipe uses meets the conditions.

    Examples:
        >>> from counterbench import datasets
        >>> rows = {"train": torch.arange(5), "validation": torch.arange(2)}
        >>> len(Repeated(FeedContext(datasets.load("ellipse"), rows), times=3).feed().rows["train"])
        15
    """

    def __init__(self, context: FeedContext, *, times: int = 2, where: dict[str, Any] | None = None):
        if times < 2:
            raise ConfigError(f"repeated: times is {times}; give 2 or more.")
        self.times, self.where = times, where
        super().__init__(context)

    def feed(self) -> Fed:
        rows = self.context.rows["train"]
        often = torch.ones(len(rows), dtype=torch.bool)
        if self.where:
            meeting = selected(self.context.dataset, "train", RowsEntry.model_validate({"where": self.where}))
            often = torch.isin(rows, meeting)
        if not often.any():
            raise ConfigError(f"repeated: none of the rows that are used has {self.where}.")
        counts = torch.where(often, self.times, 1)
        chosen = {"train": rows.repeat_interleave(counts), "validation": self.context.rows["validation"]}
        train, validation = (stored(self.context.dataset.split(name), chosen[name]) for name in chosen)
        return Fed(train, validation, chosen, {"repeated": int(often.sum()), "times": self.times})
