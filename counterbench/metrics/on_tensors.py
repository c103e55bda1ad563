"""Metrics that take tensors: variables, a graph and judges are given, and no dataset, plan or card is needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor

from counterbench.causal.graph import CausalGraph
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Image, Variable, Vector
from counterbench.errors import ConfigError, UnknownNameError, short
from counterbench.features.base import FeatureSpace
from counterbench.judges import Reading
from counterbench.metrics.answers import Answers, Batch, Instruments, View, wrong_scale
from counterbench.metrics.base import Cell, Column, Metric, Setting
from counterbench.metrics.perturbation import Perturbation
from counterbench.metrics.references import GivenReferences
from counterbench.metrics.scales import scale, spread
from counterbench.plans.question import Question
from counterbench.plugins.factory import make

See = Callable[[Tensor], Tensor]
"""A judge: images, (N, C, *sides) in grey levels, -> what it reads, (N,) in the variable's unit or (N, K) class probabilities."""
_AT_ONCE = 500
"""Images that judges look at together."""


class OnTensors:
    """A metric on tensors: `update` with one batch of answers to one question, `compute` at the end, as metrics of torchmetrics.

    Make it by :meth:`counterbench.metrics.base.Metric.on`. The numbers are those of `counterbench evaluate` for the same images in the same
    order: judges look at answers as they are and after a small perturbation, images are rounded to whole grey levels.

    Args:
        metric: the class.
        variables: of attributes and, where there is one, the image; natural values are tensors with one row per sample.
        graph: variable -> its causes; variables that are not named have none.
        judges: variable -> a function that reads it in images, or several whose median counts.
        spaces: name -> feature space, for learned distances and realism.
        real: natural values of real training samples, image included: what spreads, realism and typical doses are measured by.
        cycles: how often the null intervention is composed.
        truth: whether the true answers will be given.
        seed: of the small perturbation.
        options: of the metric.

    Raises:
        ConfigError: for a metric that watches a model at work or needs a dataset, or one that could say nothing of this.

    Examples:
        >>> from counterbench.causal.variables import Continuous
        >>> from counterbench.metrics import Effectiveness
        >>> metric = Effectiveness.on(
        ...     [Continuous("level", 0, 255), Image("image", 1, 4, 4)],
        ...     {"image": ["level"]},
        ...     judges={"level": lambda images: images.mean((1, 2, 3))},
        ... )
        >>> factual = {"level": torch.tensor([50.0, 80.0]), "image": torch.full((2, 1, 4, 4), 65.0)}
        >>> metric.update(factual, {"image": torch.full((2, 1, 4, 4), 100.0)}, {"level": torch.tensor([100.0, 100.0])})
        >>> metric.compute()["do(level): absolute_error of level"]
        0.0
    """

    def __init__(
        self,
        metric: type[Metric],
        variables: Sequence[Variable],
        graph: Mapping[str, Sequence[str]],
        *,
        judges: Mapping[str, See | Sequence[See]] | None = None,
        spaces: Mapping[str, FeatureSpace] | None = None,
        real: Mapping[str, Tensor] | None = None,
        cycles: int = 1,
        truth: bool = False,
        seed: int = 0,
        **options: Any,
    ):
        if metric.needs_model or metric.needs_noise or metric.of_trainings:
            raise ConfigError(
                f"{metric.__name__} watches a model at work, so tensors alone are not enough; use counterbench.evaluate(model, dataset)."
            )
        names = [variable.name for variable in variables]
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            raise ConfigError(f"The variable {twice[0]!r} is given twice.")
        self.variables = dict(zip(names, variables, strict=True))
        images = [name for name, variable in self.variables.items() if isinstance(variable, Image)]
        if len(images) > 1:
            raise ConfigError(f"There are {len(images)} images ({', '.join(images)}); give one image variable at most.")
        self.image = images[0] if images else ""
        self.judges = {name: _members(given) for name, given in (judges or {}).items()}
        self.seed, self._rows, self._updates = seed, dict[str, int](), 0
        given = self._graph(graph)
        self._require(real or {}, "real")
        if options.get("reference") == "train" and self.image not in (real or {}):
            raise ConfigError(
                f"{metric.__name__} compares with real images; give them as real={{{self.image!r}: ...}}."
            )
        self.setting = self._setting(given, spaces or {}, real, cycles=cycles, truth=truth)
        if spaces and "spaces" in inspect.signature(metric).parameters:
            options = {"spaces": list(spaces), **options}
        try:
            self.metric: Metric = make(metric.__name__, metric, (self.setting,), options)
        except KeyError as lacking:
            raise ConfigError(
                f"{metric.__name__} measures by how widely {lacking} varies; give real samples of every attribute: real={{{lacking}: ...}}."
            ) from None
        if not self.metric.cells:
            why = "; ".join(f"{what}: {reason}" for what, reason in self.metric.skipped.items())
            raise ConfigError(f"{metric.__name__} can say nothing here{': ' + why if why else ''}.")

    def _graph(self, graph: Mapping[str, Sequence[str]]) -> CausalGraph:
        for name in (*graph, *(cause for causes in graph.values() for cause in causes), *self.judges):
            if name not in self.variables:
                raise UnknownNameError("variable", name, list(self.variables))
        return CausalGraph({name: list(graph.get(name, ())) for name in self.variables})

    def _setting(
        self,
        graph: CausalGraph,
        spaces: Mapping[str, FeatureSpace],
        real: Mapping[str, Tensor] | None,
        *,
        cycles: int,
        truth: bool,
    ) -> Setting:
        attributes = tuple(name for name in self.variables if name != self.image)
        both = tuple(combinations(attributes, 2))
        widths = {name: real[name] for name in attributes if real is not None and name in real}
        return Setting(
            graph=graph,
            variables=self.variables,
            image=self.image,
            intervenable=attributes,
            judged=tuple(name for name in attributes if name in self.judges),
            cycles=cycles,
            with_truth=attributes if truth else (),
            undo=attributes,
            pairs=both,
            joint=both,
            joint_with_truth=both if truth else (),
            ensembles=tuple(name for name, members in self.judges.items() if len(members) > 1),
            spread={name: spread(values, self.variables[name]) for name, values in widths.items()},
            scale={name: scale(values, self.variables[name]) for name, values in widths.items()},
            spaces=spaces,
            references=None if real is None else GivenReferences(self.variables, self.image, real),
        )

    def update(
        self,
        factual: Mapping[str, Tensor],
        answers: Mapping[str, Tensor],
        interventions: Mapping[str, Tensor],
        *,
        truth: Mapping[str, Tensor] | None = None,
        targets: Mapping[str, Tensor] | None = None,
        null: Mapping[str, Tensor] | None = None,
        matched: Tensor | None = None,
        group: Tensor | None = None,
        exchanged: Mapping[str, Tensor] | None = None,
        taken_back: bool = False,
        cycle: int = 1,
        rows: Tensor | None = None,
    ) -> None:
        """Take the answers to one question about a batch.

        Args:
            factual: natural values of every variable, as observed.
            answers: of the image and, if the model claims any, of attributes; those that are not claimed count as they should be.
            interventions: what is set, one variable or two at once; an empty dictionary for the null intervention.
            truth: the true answers, where they are known.
            targets: what attributes should become; default: of what is set that, of the rest the truth where it is given, else what was observed.
            matched: (N, C, *sides), real training images that have the attributes which are asked for, one each, for realism.
            group: (N,), the independent unit of each sample, such as a patient, for realism; default: every sample is one.
            null: answers to one null intervention about the same batch, for metrics that hold answers against them.
            exchanged: of two interventions that were made one after the other, in the order of `interventions`: the answers in the other order.
            taken_back: whether the one variable that is set was set to another value before, and this takes it back.
            cycle: how many null interventions have been composed.
            rows: (N,), numbers of the samples; default: in the order in which they come, question by question.

        Raises:
            ConfigError: for unknown or missing variables, other numbers of samples, or images that are not in grey levels.
        """
        self._require(interventions, "interventions")
        order = [name for name in self.variables if name in interventions]
        if exchanged is not None and list(interventions) != order:
            answers, exchanged = exchanged, answers
        interventions = {name: interventions[name] for name in order}
        self._require(factual, "factual", every=True)
        count = len(next(iter(factual.values())))
        if count == 0:
            raise ConfigError("factual holds no samples; give one at least.")
        self._require(factual, "factual", count=count)
        if rows is not None and len(rows) != count:
            raise ConfigError(f"rows has {len(rows)} numbers, and factual has {count} samples.")
        wanted = {**factual, **(truth or {}), **(targets or {}), **interventions}
        given = {
            "answers": answers,
            "interventions": interventions,
            "truth": truth,
            "targets": targets,
            "null": null,
            "exchanged": exchanged,
            "matched": None if matched is None else {self.image: matched},
        }
        for name, values in given.items():
            self._require(values or {}, name, count=count)
        if self.image and self.image not in answers:
            raise ConfigError(f"answers lacks the image {self.image!r}.")
        if self.image:
            self._require_scale(factual[self.image], answers[self.image])
        question = self._question(
            interventions, count, taken_back=taken_back, paired=exchanged is not None, cycle=cycle, rows=rows
        )
        whole = None if null is None else {**factual, **self._whole(null)}
        batch = self._batch(factual, question.rows, null=whole, matched=matched, group=group)
        attributes = {name: value for name, value in wanted.items() if name != self.image}
        said = Answers(
            batch,
            question,
            {**wanted, **self._whole(answers)},
            targets=attributes,
            truth=None if truth is None else {**wanted, **self._whole(truth)},
            other=None if exchanged is None else {**wanted, **self._whole(exchanged)},
        )
        self.metric.update(said)
        self._updates += 1

    def columns(self) -> list[Column]:
        """The scores of every sample behind each number.

        Raises:
            ConfigError: if nothing of all that was handed over could be judged.
        """
        if self.metric.empty and self._updates:
            asks = ", ".join(sorted(self.metric.asks))
            raise ConfigError(
                f"{type(self.metric).__name__} could judge nothing of what it was given: it judges answers of the kinds {asks}, and may need truth=, matched= or null=, "
                f"or more cycles than the {self.setting.cycles} it was made for."
            )
        return [] if self.metric.empty else self.metric.compute()

    def compute(self) -> dict[str, float]:
        """Every number by its name; for intervals see :func:`counterbench.numbers_of`."""
        return {name_of(column.cell): column.point() for column in self.columns()}

    def reset(self) -> None:
        """Forget every answer."""
        self.metric.reset()
        self._rows.clear()
        self._updates = 0

    def _question(
        self,
        interventions: Mapping[str, Tensor],
        count: int,
        *,
        taken_back: bool,
        paired: bool,
        cycle: int,
        rows: Tensor | None,
    ) -> Question:
        names = tuple(interventions)
        if len(names) > 2 or (len(names) != 2 and paired) or (len(names) != 1 and taken_back):
            said = (
                "taken_back goes with one, exchanged with two." if taken_back or paired else "give one, two, or none."
            )
            raise ConfigError(f"{len(names)} variables are set ({', '.join(names)}); {said}")
        kind: Literal["null", "single", "return", "pair", "joint"] = (
            "null"
            if not names
            else "pair"
            if paired
            else "joint"
            if len(names) == 2
            else "return"
            if taken_back
            else "single"
        )
        what = "/".join((kind, str(cycle) if kind == "null" else "", *names))
        begin = self._rows.get(what, 0)
        self._rows[what] = begin + count
        at = torch.arange(begin, begin + count) if rows is None else rows
        if kind == "null":
            return Question("null", at, cycle=cycle)
        first = Question("single", at, names[0], interventions[names[0]])
        if kind == "pair":
            return Question("pair", at, names[1], interventions[names[1]], follows=first)
        if kind == "joint":
            return Question("joint", at, names[0], interventions[names[0]], beside={names[1]: interventions[names[1]]})
        return Question("return", at, names[0], interventions[names[0]], follows=first) if taken_back else first

    def _batch(
        self,
        factual: Mapping[str, Tensor],
        rows: Tensor,
        *,
        null: Mapping[str, Tensor] | None,
        matched: Tensor | None,
        group: Tensor | None,
    ) -> Batch:
        shape = factual[self.image].shape[1:] if self.image else None
        instruments = Instruments(self._measure, self.setting.spaces)
        alike = None if matched is None else View(matched.float(), instruments)
        return Batch(
            Samples({**factual, **self._whole(factual)}, rows),
            self.image,
            instruments=instruments,
            view=View(self._whole(factual)[self.image], instruments, group=group) if self.image else None,
            matched=None if alike is None else lambda variable: alike,
            null=None if null is None else lambda: null,
            shake=None if shape is None else Perturbation(rows, tuple(shape), seed=self.seed),
        )

    def _measure(self, images: Tensor) -> dict[str, Reading]:
        with torch.no_grad():
            return {
                name: Reading(torch.stack([self._seen(name, see, images) for see in members]))
                for name, members in self.judges.items()
            }

    def _seen(self, name: str, see: See, images: Tensor) -> Tensor:
        """What one judge reads, checked."""
        read = torch.cat([see(part) for part in images.split(_AT_ONCE)])
        classes = getattr(self.variables[name], "cardinality", None)
        due = (len(images),) if classes is None else (len(images), classes)
        if tuple(read.shape) != due:
            what = "one number per image" if classes is None else f"{classes} probabilities per image"
            raise ConfigError(
                f"The judge of {name!r} gives the shape {list(read.shape)}; it must give {what}, {list(due)}."
            )
        return read

    def _whole(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Values whose image is in whole grey levels, as an image file could hold it."""
        if not self.image or self.image not in values:
            return dict(values)
        return {**values, self.image: values[self.image].detach().float().round().clamp(0, 255)}

    def _require(
        self, values: Mapping[str, Tensor], where: str, *, every: bool = False, count: int | None = None
    ) -> None:
        for name, value in values.items():
            if name not in self.variables:
                raise UnknownNameError(f"variable in {where}", name, list(self.variables))
            if not isinstance(value, Tensor) or not value.ndim:
                raise ConfigError(f"{where}[{name!r}] is {short(value)}; give a tensor with one row per sample.")
            if name != self.image and not isinstance(self.variables[name], Vector) and value.ndim != 1:
                raise ConfigError(
                    f"{where}[{name!r}] has the shape {list(value.shape)}; give one number per sample, [N]."
                )
            if count is not None and len(value) != count:
                raise ConfigError(f"{where}[{name!r}] has {len(value)} samples, and factual has {count}.")
            if not value.isfinite().all():
                raise ConfigError(f"{where}[{name!r}] has numbers that are not finite.")
        if every and (lacking := [name for name in self.variables if name not in values]):
            raise ConfigError(f"{where} lacks {', '.join(map(repr, lacking))}; give every variable.")
        if self.image in values:
            self._require_image(values[self.image], where)

    def _require_scale(self, factual: Tensor, answers: Tensor) -> None:
        """Raise ConfigError for images that are not in grey levels."""
        reach = [float(extreme) for images in (answers, factual) for extreme in (images.min(), images.max())]
        if reach[3] <= 1 and bool((factual != factual.round()).any()):
            raise ConfigError(
                f"factual[{self.image!r}] lies between {reach[2]:g} and {reach[3]:g}; grey levels are 0 to 255."
            )
        if odd := wrong_scale(reach):
            raise ConfigError(f"answers[{self.image!r}]: {odd}.")

    def _require_image(self, images: Tensor, where: str) -> None:
        variable = self.variables[self.image]
        assert isinstance(variable, Image)
        if tuple(images.shape[1:]) != variable.shape:
            raise ConfigError(
                f"{where}[{self.image!r}] has the shape {list(images.shape)}; its variable says [N, {', '.join(map(str, variable.shape))}]."
            )


def _members(given: See | Sequence[See]) -> tuple[See, ...]:
    return (given,) if callable(given) else tuple(given)


def name_of(cell: Cell) -> str:
    """A number in words: `do(age): absolute_error of volume`.

    Examples:
        >>> name_of(Cell("skill", "", "higher", "age", "volume", kind="skill")), name_of(Cell("l1", "grey levels", "zero", cycles=3))
        ('do(age): skill of volume', 'l1 after 3 cycles')
    """
    cause = f"do({cell.intervened_in_words}): " if cell.intervened else ""
    space = f" ({cell.space})" if cell.space and cell.space != cell.quantity else ""
    after = f" after {cell.cycles} cycle{'s' * (cell.cycles > 1)}" if cell.cycles else ""
    return f"{cause}{cell.quantity}{f' of {cell.measured}' if cell.measured else ''}{space}{after}"
