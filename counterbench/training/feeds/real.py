"""The rows of the dataset, each once."""

from __future__ import annotations

from counterbench.plugins.registry import feeds
from counterbench.training.feeds.base import Fed, Feed, stored


@feeds.register()
class Real(Feed):
    """The rows that the recipe uses, as they are.

    Args:
        context: data, seed and device.

    Examples:
        >>> import torch
        >>> from counterbench import datasets
        >>> from counterbench.training.feeds.base import FeedContext
        >>> rows = {"train": torch.arange(5), "validation": torch.arange(2)}
        >>> fed = Real(FeedContext(datasets.load("ellipse"), rows)).feed()
        >>> {len(value) for value in fed.train.values()}
        {5}
    """

    def feed(self) -> Fed:
        train, validation = (
            stored(self.context.dataset.split(name), self.context.rows[name]) for name in ("train", "validation")
        )
        return Fed(train, validation, self.context.rows)
