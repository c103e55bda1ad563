"""Where in some test images a model looks for a phrase: one picture, and the numbers beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError
from counterbench.evaluation.exam import SPLIT
from counterbench.metrics.localisation import SCORES, in_boxes, random_map
from counterbench.models.grounding import Rule, forgetful, ground
from counterbench.models.model import Contestant
from counterbench.models.scm import StructuralCausalModel
from counterbench.pictures.overlays import draw_grounding

MOST = 12
"""Images of one picture."""


@dataclass(frozen=True)
class Grounded:
    """What a model says of a phrase.

    Args:
        rows: of the test split, (N,).
        phrases: N of them.
        scores: whose map -> score -> mean over the images with a box; nothing where nobody knows boxes.
        boxed: how many of the images have a box.
    """

    rows: Tensor
    phrases: list[str]
    scores: Mapping[str, Mapping[str, float]]
    boxed: int


def ground_images(
    contestant: Contestant,
    dataset: Dataset,
    phrase: str | None,
    *,
    count: int,
    seed: int,
    rule: Rule,
    path: Path,
) -> Grounded:
    """Draw where a model looks for a phrase in some test images.

    Args:
        contestant: who is asked.
        dataset: whose test split.
        phrase: what is looked for, in images first whose captions name the same subject; None for each image's own caption, in images with a
            box first.
        count: how many images.
        seed: which ones.
        rule: how attention becomes a map.
        path: a .png file.

    Raises:
        ConfigError: for a model that reads no phrases, a word that it does not know, or a dataset without images or captions.
    """
    model, image = contestant.model, dataset.card.image
    if not 1 <= count <= MOST:
        raise ConfigError(f"--count {count}: give a number from 1 to {MOST}.")
    if not isinstance(model, StructuralCausalModel) or not image:
        raise ConfigError(
            f"{contestant.name} reads no phrases; a model whose image mechanism has `phrases: true` does."
        )
    carried = dataset.card.carried(dataset.source)
    if dataset.card.grammar is None or "caption" not in carried:
        raise ConfigError(
            f"{dataset.card.name}/{dataset.source} has no captions with a grammar; morphomnist-lesions and adni-lesions have."
        )
    if phrase is not None:
        dataset.card.grammar.tokens([phrase])
    split = dataset.split(SPLIT)
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    rows = _fitting(dataset, rows, phrase, boxed="boxes" in carried)[:count]
    values = split.take(rows)
    captions = dataset.role("caption", SPLIT, rows)
    phrases = [str(caption) for caption in captions] if phrase is None else [phrase] * len(rows)
    heats = ground(model, values, phrases, image=image, rule=rule)
    boxes = dataset.role("boxes", SPLIT, rows) if "boxes" in carried else None
    box = boxes if isinstance(boxes, Tensor) else None
    title = f"{contestant.title} - {dataset.card.name}/{dataset.source}: " + (f'"{phrase}"' if phrase else "captions")
    draw_grounding(values[image], heats, phrases, boxes=box, title=title, path=path)
    if box is None:
        return Grounded(rows, phrases, {}, 0)
    inside = in_boxes(box, values[image].shape[2:])
    there = inside.flatten(1).any(1)
    before = ground(forgetful(model, image), values, phrases, image=image, rule=rule)
    brightness = values[image].double().mean(1)
    maps = {
        contestant.name: heats,
        "untrained network": before,
        "image intensity": brightness,
        "random map": random_map(brightness, rows),
    }
    scores = {
        name: {score: float(function(one[there], inside[there]).mean()) for score, function in SCORES.items()}
        for name, one in maps.items()
    }
    return Grounded(rows, phrases, scores if there.any() else {}, int(there.sum()))


def _fitting(dataset: Dataset, rows: Tensor, phrase: str | None, *, boxed: bool) -> Tensor:
    """The same rows, those first whose captions name the same subject in the words of the phrase; of no phrase, those with a box."""
    grammar, some = dataset.card.grammar, rows[:500]
    assert grammar is not None
    if phrase is None:
        boxes = dataset.role("boxes", SPLIT, some) if boxed else torch.zeros(len(some), 4)
        assert isinstance(boxes, Tensor)
        there = ~boxes.isnan().any(1)
        return torch.cat([some[there], some[~there]])
    wanted = grammar.tokens([phrase])
    words = set(wanted[grammar.counts(wanted, "subject")].tolist())
    captions = grammar.tokens([str(one) for one in dataset.role("caption", SPLIT, some)])
    fits = torch.isin(captions, torch.tensor(sorted(words))).any(1)
    return torch.cat([some[fits], some[~fits]])
