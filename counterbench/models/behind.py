"""The real images behind a model, whose copies and individuals may come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from counterbench.datasets.selection import listed, ranges


@dataclass(frozen=True)
class Behind:
    """The real images behind what a model was trained on.

    Args:
        seen: `which` rows of the training split, and the conditions `where` that they meet; None for the whole split.
        filtered_by: verifiers that have removed images between them and the model.
    """

    seen: dict[str, Any] | None
    filtered_by: tuple[str, ...] = ()


def everybody_behind(training: Mapping[str, Any]) -> Behind:
    """Whoever may come out of a model: those behind it, and those behind the model that its training started from.

    Args:
        training: what its manifest says.

    Examples:
        >>> rows = {"where": {"digit": ["5"]}, "train": {"count": 2, "which": "7-8"}}
        >>> everybody_behind({"rows": rows, "init_behind": {"seen": {"which": "0-2", "where": {}}, "filtered_by": []}}).seen
        {'which': '0-2 7-8', 'where': {}}
        >>> everybody_behind({"rows": rows, "init_behind": {"seen": None, "filtered_by": []}}).seen is None
        True
    """
    own, start = behind_of(training), training.get("init_behind")
    if not isinstance(start, Mapping):
        return own
    if own.seen is None or start.get("seen") is None:
        return Behind(None, own.filtered_by)
    rows = torch.cat([listed(str(part["which"])) for part in (own.seen, start["seen"])]).unique()
    same = own.seen.get("where") == start["seen"].get("where")
    return Behind({"which": ranges(rows), "where": own.seen.get("where") if same else {}}, own.filtered_by)


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
    start = training.get("init_behind")
    before = tuple(start.get("filtered_by", ())) if isinstance(start, Mapping) else ()
    feed = training.get("feed")
    if isinstance(feed, Mapping) and "behind" in feed:
        return Behind(feed["behind"], tuple(feed.get("filtered_by", ())))
    rows = training.get("rows")
    if not isinstance(rows, Mapping):
        return Behind(None, before)
    return Behind({"which": rows["train"]["which"], "where": rows["where"]}, before)
