"""The functions for notebooks (`evaluate`, `load_dataset`, `load_model`) and the objects that they return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from counterbench import datasets, evaluation, models
from counterbench.catalog.suites import default_suite
from counterbench.causal.chance import Generator
from counterbench.causal.samples import Samples
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError, RecordError
from counterbench.evaluation import results_folder
from counterbench.evaluation.evaluation import Evaluation
from counterbench.evaluation.kept_answers import Keeping
from counterbench.evaluation.numbers import numbers as evaluated_numbers
from counterbench.metrics.on_tensors import OnTensors
from counterbench.models.model import Contestant, Model
from counterbench.pictures import gallery
from counterbench.records import summary
from counterbench.records.record import Record, require_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """What a record comes to, which shows itself: as text where it is printed, in colour in a notebook.

    Args:
        record: whose numbers.
        detail: all of them before the summary.

    Examples:
        >>> table = evaluate("identity", "ellipse", suite="mechanisms", limit=10).table()
        >>> str(table).splitlines()[0]
        'baseline `identity`  ellipse/formula, mechanisms, 10 of 5000 samples'
    """

    record: Record
    detail: bool = False

    def __str__(self) -> str:
        return summary.as_text(self.record, self.detail)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return summary.as_html(self.record, self.detail)


@dataclass(frozen=True)
class Result:
    """One evaluated model.

    Args:
        evaluation: the record, with the scores per sample and the answers that are kept to be looked at.
        dataset: what was asked about.

    Examples:
        >>> result = evaluate("identity", "ellipse", suite="mechanisms", limit=10)
        >>> result.record.inputs.model, len(result.rows()) == len(result.record.numbers)
        ('identity', True)
    """

    evaluation: Evaluation
    dataset: Dataset

    @property
    def record(self) -> Record:
        """Every number with its interval, floors and ceiling, and what is needed to trust it."""
        return self.evaluation.record

    def table(self, detail: bool = False) -> Table:
        """The summary, with `detail` all numbers between floors and ceiling before it, as the command line prints them."""
        return Table(self.record, detail)

    def rows(self) -> list[dict[str, Any]]:
        """The numbers as plain rows, e.g. for `pandas.DataFrame(result.rows())`; baselines as columns of their names."""
        rows = []
        for number in self.record.numbers:
            ends = {name: estimate.value for name, estimate in number.references.items()}
            rows.append({**number.model_dump(exclude={"references"}), **ends})
        return rows

    def plot(self) -> Figure:
        """The first answers beside the truth, as a matplotlib figure.

        Raises:
            ConfigError: if there is nothing to see: a dataset without images, or metrics that ask no single question.
        """
        figure = gallery.evaluation_figure(self.evaluation, self.dataset)
        if figure is None:
            raise ConfigError(
                f"There is no picture: no image of {self.dataset.card.name} was changed in this evaluation."
            )
        return figure

    def save(self, output: Path | str = "results") -> Path:
        """Write record, scores per sample, questions and picture as `counterbench evaluate` does; returns the folder.

        Raises:
            RecordError: if it holds a record with the same inputs and other numbers: two functions of one name.
        """
        folder = results_folder.folder_of(self.record.inputs, Path(output))
        stored = results_folder.stored(folder, self.record.inputs)
        if stored is not None and _values(stored) != _values(self.record):
            raise RecordError(
                f"{folder} holds another model's record with the same inputs; give yours a name of its own: evaluate(..., name=...)."
            )
        folder.mkdir(parents=True, exist_ok=True)
        results_folder.save(self.evaluation, folder, pictures=gallery.figures(self.evaluation, self.dataset))
        return folder

    def __repr__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


class Wrapped:
    """A function (factual, interventions, generator) -> values as a model.

    Args:
        answer: takes natural values of every variable and of what is set, and returns natural values of every variable; see
            :class:`counterbench.models.loading.Model`.

    Examples:
        >>> unchanged = Wrapped(lambda factual, interventions, generator: {**factual, **interventions})
        >>> sorted(unchanged.counterfactual({"x": 1}, {"y": 2}))
        ['x', 'y']
    """

    def __init__(self, answer: Callable[..., Mapping[str, Tensor]]):
        self.answer = answer

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: Generator = None
    ) -> Mapping[str, Tensor]:
        return self.answer(factual, interventions, generator)


def load_dataset(
    name: str, source: str | None = None, *, data_dir: Path | str | None = None, exam_seed: int | None = None
) -> Dataset:
    """A dataset of the catalogue, or of a card file; see :func:`counterbench.datasets.load`.

    Examples:
        >>> sorted(load_dataset("ellipse").variables)
        ['t', 'x', 'y', 'z']
    """
    return datasets.load(name, source, data_dir=data_dir, exam_seed=exam_seed)


def load_model(name: str, dataset: Dataset, *, device: str = "cpu") -> Contestant:
    """A model by name, recipe file or trained folder; see :func:`counterbench.models.loading.load`.

    Examples:
        >>> load_model("identity", load_dataset("ellipse")).name
        'identity'
    """
    return models.load(name, dataset, device=device)


def evaluate(
    model: str | Model | Contestant | Callable[..., Mapping[str, Tensor]],
    dataset: str | Dataset = "morphomnist",
    *,
    suite: str | None = None,
    source: str | None = None,
    data_dir: Path | None = None,
    metrics: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    batch_size: int | None = None,
    name: str | None = None,
    keep_answers: bool = False,
    exam_seed: int | None = None,
    draws: int | None = None,
    workers: int | None = 1,
) -> Result:
    """Evaluate a model, given by name, as an object that answers, or as a function.

    Args:
        model: a name; an object with a method `counterfactual(factual, interventions, generator)`; or that function itself.
        dataset: a name, or a loaded dataset.
        suite: the exam; None for `standard`, or `mechanisms` where there are no images.
        source: where the pixels come from; None for the card's default.
        data_dir: folder of published data; None for $COUNTERBENCH_DATA.
        metrics: None for the suite's.
        limit: ask about the first test samples only.
        seed: of plan and noise.
        device: auto, cpu, cuda, mps.
        batch_size: changes the speed, and a network's answers in their last digits.
        name: of the model in the record; None for its own.
        keep_answers: hold all answers in memory, one byte a pixel, until `save` stores them for `counterbench rejudge`.
        exam_seed: draws test individuals that are in no public split; None for the public ones.
        draws: answer every single intervention so often, with other chance, for the metric `draws`; None for once.
        workers: processes that share the work, with the same numbers; None for one per processor.

    Raises:
        ConfigError: for something that cannot answer.

    Examples:
        >>> def unchanged(factual, interventions, generator):
        ...     return {**factual, **interventions}
        >>> result = evaluate(unchanged, "ellipse", suite="mechanisms", limit=10)
        >>> result.record.inputs.model
        'unchanged'
    """
    if isinstance(metrics, str):
        raise ConfigError(f"metrics is {metrics!r}; give a list of names, e.g. [{metrics!r}].")
    if suite is None:
        suite = default_suite(datasets.card(dataset) if isinstance(dataset, str) else dataset.card)
    exam = evaluation.prepare(
        dataset,
        suite,
        source=source,
        data_dir=data_dir,
        metrics=metrics,
        seed=seed,
        limit=limit,
        device=device,
        exam_seed=exam_seed,
        draws=draws,
    )
    if isinstance(model, str):
        contestant = models.load(model, exam.dataset, device=exam.device, references=exam.suite.references)
        contestant = contestant if name is None else replace(contestant, called=require_name(name))
    elif isinstance(model, Contestant):
        contestant = model if name is None else replace(model, called=require_name(name))
    else:
        contestant = _contestant(model, name)
    exam = exam.knowing(contestant)
    keeping = Keeping(image=exam.dataset.card.image) if keep_answers else None
    evaluated = evaluation.evaluate(contestant, exam, batch_size=batch_size, keeping=keeping, workers=workers)
    return Result(evaluated, exam.dataset)


def numbers_of(
    *metrics: OnTensors, group: Tensor | None = None, resamples: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """The numbers of metrics on tensors with 95 % intervals, as plain rows, e.g. for `pandas.DataFrame(numbers_of(...))`.

    Args:
        metrics: each with the answers that it took.
        group: (N,), the independent unit of each row (a patient with several scans); None where every row is one.
        resamples: behind each interval.
        seed: of the resampling.

    Examples:
        >>> import torch
        >>> from counterbench.causal.variables import Image
        >>> from counterbench.metrics import Composition
        >>> metric = Composition.on([Image("image", 1, 4, 4)], {})
        >>> images = torch.full((90, 1, 4, 4), 100.0)
        >>> metric.update({"image": images}, {"image": images + torch.arange(90.0).view(-1, 1, 1, 1)}, {})
        >>> [row] = numbers_of(metric)
        >>> row["quantity"], row["value"], row["n"], row["low"] < 44.5 < row["high"]
        ('l1', 44.5, 90, True)
    """
    columns = [column for metric in metrics for column in metric.columns()]
    if not columns:
        return []
    rows = torch.cat([column.index for column in columns]).unique()
    if group is not None and (not isinstance(group, Tensor) or len(group) <= int(rows.max())):
        raise ConfigError(f"group must be a tensor with one number for each of the {int(rows.max()) + 1} rows.")
    units = rows if group is None else group[rows]
    found, _ = evaluated_numbers({"model": columns}, rows, units, resamples=resamples, seed=seed)
    return [number.model_dump(exclude={"references"}) for number in found]


def _values(record: Record) -> list[tuple[Any, float]]:
    return [(number.key, number.value) for number in record.numbers if number.role != "resource"]


def _contestant(model: Any, name: str | None) -> Contestant:
    if inspect.isclass(model):
        raise ConfigError(f"{model.__name__} is a class; give an instance of it.")
    if isinstance(model, Model):
        return models.foreign(name or type(model).__name__, model)
    if not callable(model):
        raise ConfigError(
            f"{model!r} cannot be evaluated: give a name, an object with a method counterfactual(factual, interventions, generator), "
            "or that function."
        )
    return models.foreign(name or str(getattr(model, "__name__", type(model).__name__)), Wrapped(model), code=model)
