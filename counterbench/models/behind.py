"""The real images behind a model, whose copies and individuals may come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Behind:
    """The real images behind what a model was trained on.

    Args:
        seen: `which` rows of the training split, and the conditions `where` that they meet; None for the whole split.
        filtered_by: verifiers that have removed images between them and the model.
    """

    seen: dict[str, Any] | None
    filtered_by: tuple[str, ...] = ()


def behind_of(training: Mapping[str, Any]) -> Behind:
    """Behind a model: the rows that it was trained on or, where it learnt from what another model makes, those behind that one.

    Args:
        training: what its manifest says.

    Examples:
        >>> behind_of({"rows": {"where": {}, "train": {"count": 3, "which": "0-2"}}}).seen
        {'which': '0-2', 'where': {}}
        >>> behind_of({"feed": {"behind": {"which": "0-2"}, "filtered_by": ["contrastive"]}}).filtered_by
        ('contrastive',)
    """
    feed = training.get("feed")
    if isinstance(feed, Mapping) and "behind" in feed:
        return Behind(feed["behind"], tuple(feed.get("filtered_by", ())))
    rows = training.get("rows")
    if not isinstance(rows, Mapping):
        return Behind(None)
    return Behind({"which": rows["train"]["which"], "where": rows["where"]})
