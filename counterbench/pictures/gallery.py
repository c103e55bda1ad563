"""Counterfactuals to look at: a few samples, some interventions, one picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from counterbench import plans, segmenters
from counterbench.catalog.suites import STANDARD, find_suite
from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Categorical, Continuous
from counterbench.datasets.dataset import Dataset, Split
from counterbench.errors import ConfigError, DataError, suggestion
from counterbench.evaluation.evaluation import SPLIT, Evaluation
from counterbench.evaluation.results_folder import DOSES, GRID
from counterbench.leaderboard.dose_figure import dose_figure
from counterbench.models.model import Contestant, ask, can_answer
from counterbench.models.reachable import evaluation_mode
from counterbench.pictures.grid import InterventionColumns, captions, captions_of, draw_grid, grid_figure
from counterbench.pictures.sheet import draw_sheet
from counterbench.records.record import called

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST, ROWS = 256, 64
"""Images on a sheet of samples, and rows of a grid of answers."""


def evaluation_figure(evaluation: Evaluation, dataset: Dataset) -> Figure | None:
    """The first answers of an evaluation, as they were judged, columns for every intervened variable; None without images."""
    image = dataset.card.image
    interventions: list[InterventionColumns] = []
    factual = null = None
    for name, shown in evaluation.shown.items():
        factual, null = shown.factual, shown.null
        rows = evaluation.plan.index[: len(factual)]
        before = {one: dataset.attributes(SPLIT)[one][rows] for one in shown.wanted}
        words = captions_of(dataset.variables, shown.wanted, before=before)
        interventions.append(InterventionColumns(f"do({name})", words, shown.answered, shown.truth))
    if factual is None:
        return None
    title = f"{evaluation.record.title} - {dataset.card.name}/{dataset.source}"
    few = Samples({image: factual}, torch.arange(len(factual)))
    return grid_figure(few, image, interventions, title=title, null=null)


def figures(evaluation: Evaluation, dataset: Dataset) -> dict[str, Figure]:
    """What is drawn of an evaluation: name of a file -> figure."""
    drawn = {
        GRID: evaluation_figure(evaluation, dataset),
        DOSES: dose_figure({called(evaluation.record): evaluation.record}),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def intervention_columns(
    contestant: Contestant,
    dataset: Dataset,
    factual: Samples,
    interventions: Mapping[str, Tensor],
    *,
    noise: SampleNoise,
) -> InterventionColumns:
    """Ask one question about each sample."""
    image = dataset.card.image
    if not can_answer(contestant.model, list(interventions)):
        raise ConfigError(
            f"{contestant.name} does not answer questions about {', '.join(interventions)}. {dataset.card.truth.strip()}"
        )
    answer = _asked(contestant, dataset, factual, interventions, noise)
    truth = dataset.truth(SPLIT, factual.index, interventions)[image] if dataset.knows_truth(interventions) else None
    title = "do(" + ", ".join(interventions) + ")"
    return InterventionColumns(title, captions_of(dataset.variables, interventions, before=factual), answer, truth)


def _asked(
    contestant: Contestant, dataset: Dataset, factual: Samples, interventions: Mapping[str, Tensor], noise: SampleNoise
) -> Tensor:
    """Images that a model answers with."""
    with torch.no_grad(), evaluation_mode(contestant.model):
        answer = ask(contestant.model, factual, interventions, noise=noise, variables=dataset.variables)
    return answer[dataset.card.image]


def generate(
    contestant: Contestant,
    dataset: Dataset,
    assignments: Mapping[str, str],
    *,
    count: int,
    seed: int,
    path: Path,
    contours: bool = False,
) -> None:
    """Set the same values in `count` random test samples and draw the answers.

    Args:
        contestant: who answers.
        dataset: whose test split.
        assignments: variable -> value, as typed.
        count: how many samples.
        seed: which samples, and the noise.
        path: a .png file.
        contours: whether the parts of all images are outlined: as the dataset knows them, of answers as the card's segmenter finds them.

    Raises:
        ConfigError: for an unknown variable or class, or contours of a dataset without parts. DataError: for a value out of range.
    """
    split = _drawable(dataset, count, ROWS)
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:count].sort().values
    factual = split.take(rows)
    interventions = {
        name: parse_value(dataset, name, text, factual[name])
        for name, text in assignments.items()
        if _settable(dataset, name)
    }

    def noise() -> SampleNoise:
        """The same chance in both questions: drawing moves a stream on."""
        return SampleNoise(seed, [f"generate/{row}" for row in rows.tolist()])

    columns = intervention_columns(contestant, dataset, factual, interventions, noise=noise())
    null = _asked(contestant, dataset, factual, {}, noise()) if can_answer(contestant.model, []) else None
    mask = None
    if contours:
        mask, answered, true = _outlined(dataset, rows, interventions, columns.answer)
        columns = replace(columns, contours=(answered, true))
    draw_grid(
        factual,
        dataset.card.image,
        [columns],
        title=f"{contestant.title} - {dataset.card.name}/{dataset.source}",
        path=path,
        null=null,
        contours=mask,
    )


def _outlined(
    dataset: Dataset, rows: Tensor, interventions: Mapping[str, Tensor], answer: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """(parts of the samples, of the answers, of the truth), (N, *sides) each; None where nobody knows them."""
    segmenter = segmenters.load(dataset.card, dataset.source)
    known = "mask" in dataset.card.carried(dataset.source)
    if not known and segmenter is None:
        raise ConfigError(
            f"--contours: {dataset.card.name}/{dataset.source} has no masks of parts, and its card pins no segmenter (train-segmenter makes one)."
        )
    mask = dataset.role("mask", SPLIT, rows) if known else None
    if not isinstance(mask, Tensor):
        mask = None if segmenter is None else segmenter.segment(dataset.split(SPLIT).take(rows)[dataset.card.image])
    true = dataset.masks(SPLIT, rows, interventions) if dataset.knows_truth(interventions) else None
    return mask, None if segmenter is None else segmenter.segment(answer), true


def draw_dataset(dataset: Dataset, count: int, seed: int, path: Path) -> None:
    """Draw random test samples and, where the process is known, the true counterfactuals of a few.

    Args:
        dataset: whose test split.
        count: how many samples; eight of them are changed.
        seed: which samples.
        path: a .png file.

    Raises:
        ConfigError: for a dataset without images, or more samples than there are.
    """
    split, image = _drawable(dataset, count, MOST), dataset.card.image
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:count]
    few = rows[:8].sort().values
    asked = plans.draw(dataset, find_suite(STANDARD), seed).single
    changed = []
    for name, values in asked.items():
        if dataset.knows_truth([name]):
            targets = values[few]
            true = dataset.truth(SPLIT, few, {name: targets})[image]
            changed.append((f"do({name})", captions(dataset.variables[name], targets), true))
    title = f"{dataset.card.name}/{dataset.source}: samples" + (" and true counterfactuals" if changed else "")
    draw_sheet(split.take(rows)[image], split.take(few)[image], changed, title=title, path=path)


def _drawable(dataset: Dataset, count: int, most: int) -> Split:
    """The test split, if `count` images of it can be drawn."""
    if not dataset.card.image:
        raise ConfigError(f"{dataset.card.name} has no images to draw; `counterbench evaluate` judges its numbers.")
    split = dataset.split(SPLIT)
    if not 1 <= count <= min(most, len(split)):
        raise ConfigError(f"--count {count}: give a number from 1 to {min(most, len(split))}.")
    return split


def _settable(dataset: Dataset, name: str) -> bool:
    if name not in dataset.card.intervenable:
        raise ConfigError(
            f"--do {name}=...: {dataset.card.name} has no variable {name!r} to set.{suggestion(name, dataset.card.intervenable)}"
        )
    return True


def parse_value(dataset: Dataset, name: str, text: str, like: Tensor) -> Tensor:
    """A typed value as natural values for every sample.

    Raises:
        ConfigError: if it is not a value of the variable. DataError: if it is out of range.
    """
    variable = dataset.variables[name]
    if isinstance(variable, Categorical):
        if text not in variable.classes:
            raise ConfigError(f"--do {name}={text}: not a class of {name!r}.{suggestion(text, variable.classes)}")
        return torch.full_like(like, variable.classes.index(text))
    try:
        number = float(text)
    except ValueError as error:
        raise ConfigError(f"--do {name}={text}: {text!r} is not a number.") from error
    if isinstance(variable, Continuous):
        variable.require_in_range(number)
    elif number not in (0.0, 1.0):
        raise DataError(f"--do {name}={text}: {name!r} is {variable.kind}; give 0 or 1.")
    return torch.full_like(like, number)
