"""What a notebook needs: three functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from counterbench import datasets, evaluation, models
from counterbench.datasets.base import Dataset
from counterbench.evaluation import Evaluation
from counterbench.models import Contestant, Model


def load_dataset(name: str, source: str | None = None, data_dir: Path | str | None = None) -> Dataset:
    """A dataset of the catalogue, or of a card file; see :func:`counterbench.datasets.load`."""
    return datasets.load(name, source, data_dir)


def load_model(name: str, dataset: Dataset, device: str = "cpu") -> Contestant:
    """A model by name, recipe file or trained folder; see :func:`counterbench.models.load`."""
    return models.load(name, dataset, device)


def evaluate(
    model: str | Model,
    dataset: str | Dataset = "morphomnist",
    suite: str = "standard",
    source: str | None = None,
    data_dir: Path | None = None,
    metrics: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    batch_size: int | None = None,
) -> Evaluation:
    """Evaluate a model, given by name or as an object with a method `counterfactual(factual, interventions, generator)`.

    Args:
        model: a name, or anything that answers.
        dataset: a name, or a loaded dataset.
        suite: the exam.
        source, data_dir: where the pixels come from.
        metrics: None for the suite's.
        limit: ask about the first test samples only.
        seed: of plan and noise.
        device: auto, cpu, cuda, mps.
        batch_size: changes the speed, never a number.
    """
    exam = evaluation.prepare(dataset, suite, source, data_dir, metrics, seed, limit, device)
    contestant = (
        models.load(model, exam.dataset, exam.device, exam.suite.references)
        if isinstance(model, str)
        else Contestant(type(model).__name__, model)
    )
    return evaluation.evaluate(contestant, exam, batch_size)
