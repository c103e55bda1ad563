"""How much models change an image, per intervention: the scale of the estimated skill, pinned in the card."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from counterbench import models
from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError
from counterbench.metrics.answers import l1
from counterbench.models.model import Contestant
from counterbench.plans.drawing import other_value
from counterbench.runtime.progress import bar

SPLIT = "validation"
_BATCH = 100


def typical_change(
    contestants: Sequence[Contestant], dataset: Dataset, *, limit: int = 500, seed: int = 0
) -> dict[str, float]:
    """Median over models of the mean distance between their answers and their null answers.

    Args:
        contestants: models of different kinds, the more the better.
        dataset: whose validation split is asked about; its truth is not looked at.
        limit: ask about the first samples only.
        seed: of values and noise.

    Returns:
        Intervened variable -> mean absolute difference in grey levels, of those that every model answers.

    Raises:
        ConfigError: for a dataset without images.
    """
    if not dataset.card.image:
        raise ConfigError(f"{dataset.card.name} has no images; the typical change is one of images.")
    split = dataset.split(SPLIT)
    factual = split.take(torch.arange(min(limit, len(split))))
    changes: dict[str, list[float]] = {}
    with bar(len(contestants), "Asking models") as advance:
        for contestant in contestants:
            for name, change in _changes(contestant, dataset, factual, seed).items():
                changes.setdefault(name, []).append(change)
            advance(1)
    answered = {name: found for name, found in changes.items() if len(found) == len(contestants)}
    return {name: float(f"{float(np.median(found)):.4g}") for name, found in answered.items()}


def _changes(contestant: Contestant, dataset: Dataset, factual: Samples, seed: int) -> dict[str, float]:
    questions: dict[str, Tensor] = {}
    for name in dataset.card.intervenable:
        if models.can_answer(contestant.model, [name]) and not dataset.card.variables[name].changes_individual:
            rng = np.random.default_rng([seed, *name.encode()])
            train = dataset.attributes("train")[name]
            questions[name] = other_value(dataset.variables[name], factual[name], train, rng)
    totals = dict.fromkeys(questions, 0.0)
    for rows in torch.arange(factual.count).split(_BATCH):
        given = Samples({name: value[rows] for name, value in factual.items()}, factual.index[rows])

        def answer(held: dict[str, Tensor], given: Samples = given) -> Tensor:
            noise = SampleNoise(seed, [f"row/{row}" for row in given.index.tolist()])
            return models.ask(contestant.model, given, held, noise=noise, variables=dataset.variables)[
                dataset.card.image
            ]

        null = answer({})
        for name, values in questions.items():
            totals[name] += float(l1(answer({name: values[rows]}), null).sum())
    return {name: total / factual.count for name, total in totals.items()}
