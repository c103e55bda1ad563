"""What judges are trained on: images of a split that no model sees, and what these would have been with other values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from counterbench.catalog.recipes import RowsEntry
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.selection import selected
from counterbench.training.batches import require_samples

_BATCH = 500


def joined_images(
    datasets: Sequence[Dataset], split: str, *names: str, rows: RowsEntry | None = None
) -> dict[str, Tensor]:
    """Some variables of a split, from all sources together.

    Args:
        datasets: sources of one card.
        split: name of the split.
        names: of the variables.
        rows: which samples of each source; None for all.

    Raises:
        DataError: if there are too few samples to train on.
    """
    parts = [dataset.split(split).values for dataset in datasets]
    if rows is not None:
        chosen = [selected(dataset, split, rows) for dataset in datasets]
        parts = [{name: part[name][index] for name in names} for part, index in zip(parts, chosen, strict=True)]
    values = {name: torch.cat([part[name] for part in parts]) for name in names}
    require_samples(values, split)
    return values


def with_counterfactuals(
    datasets: Sequence[Dataset],
    split: str,
    values: Mapping[str, Tensor],
    labels: Sequence[str],
    *,
    copies: int,
    seed: int,
) -> dict[str, Tensor]:
    """The same values, and after them true counterfactuals: every label set to that of another image, independently of each other.

    Args:
        datasets: sources of one card; those that do not know the truth add nothing.
        split: whose images they are.
        values: what is there already, the image among them.
        labels: what is set, as far as it may be.
        copies: how often each image comes once more.
        seed: of what is drawn.
    """
    if not copies:
        return dict(values)
    image, parts = datasets[0].card.image, [dict(values)]
    for number, dataset in enumerate(datasets):
        asked = [label for label in labels if label in dataset.card.intervenable]
        if not asked or not dataset.knows_truth(asked):
            continue
        own = dataset.attributes(split)
        for copy in range(copies):
            generator = torch.Generator().manual_seed(seed * 1009 + number * 101 + copy)
            count = len(own[labels[0]])
            wanted = {label: own[label][torch.randperm(count, generator=generator)] for label in asked}
            for rows in torch.arange(count).split(_BATCH):
                truth = dataset.truth(split, rows, {label: value[rows] for label, value in wanted.items()})
                part = {label: truth.get(label, own[label][rows]) for label in labels}
                parts.append({**part, image: truth[image].to(values[image].dtype)})
    return {name: torch.cat([part[name].to(values[name].dtype) for part in parts]) for name in values}
