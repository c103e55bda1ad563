"""What one number of a table is, said once by its metric and carried by the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from counterbench.causal.variables import Continuous, Variable, Vector
from counterbench.metrics.answers import L1
from counterbench.plans.question import Cause, names_of, words_of

Direction = Literal["lower", "higher", "one", "zero", "half"]
"""What is better: a lower score, a higher one, or one close to 1, to 0, to 0.5."""

Bounds = tuple[float | None, float | None]
"""The least and the most that a number can be, whatever is evaluated; None where nothing follows from its definition."""
NOT_NEGATIVE: Bounds = (0.0, None)
SHARE: Bounds = (0.0, 1.0)
GREY: Bounds = (0.0, 255.0)


@dataclass(frozen=True)
class Cell:
    """One number of a table, and everything that others must know to read it: no other file knows it by its name.

    Args:
        quantity: what is averaged, e.g. absolute_error.
        unit: of the number.
        direction: what is better.
        intervened: the variable that was set, "" for none; of a pair, the names of both, first the one that was set first; of a
            joint intervention, the names of both.
        measured: the variable that was measured, "" for the image itself.
        cycles: how many null interventions were composed, 0 where it does not apply.
        space: distance or feature space in which it is measured, "" where it does not apply.
        kind: "mean" (ratio of the sums of scores and references), "skill" (1 - that), "root" (its square root), or, without an interval because
            resampling samples says nothing about them, "timing" (mean) and "peak" (largest).
        role: "headline"; "detail" is left out of the short table; "diagnosis" says why a model answers as it does; "resource"
            is no matter of chance and is not ranked.
        statistic: "mean" of samples that say something one by one; "set" of samples whose values hang on the others (their
            neighbours, a classifier that is trained on them); "pseudo" of the set alone, kept as its pseudo-values.
        bounds: the least and the most that it can be by definition.
        of_identity: what returning the image unchanged scores by definition, None if that hangs on the data.
        of_truth: what the true counterfactual scores by definition.
        worst: what an answer that is missing scores, or worse if one was: the sample's value; of a skill, that of the error behind
            it, and of a root, that of its square; of a number that is best in the middle, its distance from there. None: the bound
            on the bad side.
        only_if_truth_wins: ranked only where the true counterfactual, if it is known, scores better than the image unchanged.
        given: baselines are told what it measures, so that it says nothing about them.
        depends_on_temperature: comparable only between models with the same pixel-noise temperature.
        preserves: whether it says that something stayed, which doing nothing does best: it ranks only those who change what is asked.
        intervenes: whether `intervened` was set; else it is a variable that the number relates to.
        label: the quantity in words, where those are not its name.

    Examples:
        >>> cell = Cell("absolute_error", "px", "lower", intervened="intensity", measured="thickness")
        >>> cell.kind, cell.role
        ('mean', 'headline')
        >>> Cell("l1", "grey levels", "lower", intervened=("width", "tilt")).intervened_in_words
        'width + tilt'
    """

    quantity: str
    unit: str
    direction: Direction
    intervened: Cause = ""
    measured: str = ""
    cycles: int = 0
    space: str = ""
    kind: Literal["mean", "skill", "root", "timing", "peak"] = "mean"
    role: Literal["headline", "detail", "diagnosis", "resource"] = "headline"
    statistic: Literal["mean", "set", "pseudo"] = "mean"
    bounds: Bounds = (None, None)
    of_identity: float | None = None
    of_truth: float | None = None
    worst: float | None = None
    only_if_truth_wins: bool = False
    given: bool = False
    depends_on_temperature: bool = False
    intervenes: bool = True
    preserves: bool = False
    label: str = ""

    @property
    def intervened_names(self) -> tuple[str, ...]:
        """The variables of `intervened`, one by one; none where it is empty."""
        return names_of(self.intervened)

    @property
    def intervened_in_words(self) -> str:
        """`intervened` as records and people read it: `a`, or `a + b` for a pair."""
        return words_of(self.intervened_names)

    def key_of(self, metric: str) -> tuple[str, str, str, str, int, str]:
        """What tells its number from the others of a record."""
        return metric, self.quantity, self.intervened_in_words, self.measured, self.cycles, self.space

    @property
    def worst_of_sample(self) -> float:
        """What a missing answer scores at least; 1 away from the best where nothing is known, 2 from a best in the middle."""
        low, high = self.bounds
        if self.worst is not None:
            return self.worst
        if self.kind == "skill" or self.direction == "lower":
            return 1.0 if high is None or self.kind == "skill" else high
        if self.direction == "higher":
            return 0.0 if low is None else low
        return 2.0


def width(variable: Variable | None) -> float:
    """How far two values of a variable can be apart: its range, or 1 for classes.

    Examples:
        >>> width(Continuous("width", 0, 8, "px"))
        8
    """
    return variable.high - variable.low if isinstance(variable, Continuous) else 1.0


def error_cell(variable: Variable, intervened: Cause, error: str, accuracy: str) -> Cell:
    """The cell of an attribute: its `error` in the variable's unit if it is continuous, else its `accuracy`.

    Examples:
        >>> error_cell(Continuous("width", 0, 8, "px"), "tilt", "error", "accuracy").quantity
        'error'
    """
    if isinstance(variable, (Continuous, Vector)):
        return Cell(
            error,
            variable.unit if isinstance(variable, Continuous) else "of its range",
            "lower",
            intervened,
            variable.name,
            bounds=NOT_NEGATIVE,
            worst=width(variable),
        )
    return Cell(accuracy, "", "higher", intervened, variable.name, bounds=SHARE)


def distance_cell(space: str, intervened: Cause = "", *, cycles: int = 0) -> Cell:
    """The cell of a mean distance between images: `l1`, or in a feature space.

    Examples:
        >>> distance_cell("l1").unit, distance_cell("lpips").quantity
        ('grey levels', 'distance')
    """
    if space == L1:
        return Cell(L1, "grey levels", "lower", intervened, cycles=cycles, space=space, bounds=GREY)
    return Cell(
        "distance",
        "",
        "lower",
        intervened,
        cycles=cycles,
        space=space,
        bounds=NOT_NEGATIVE,
        worst=1.0,  # strangers are about one apart
        label=f"{space} distance",
    )
