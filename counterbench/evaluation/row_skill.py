"""Row skill of a model and of the baselines, from the scores behind their truth skills and estimated skills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from counterbench.evaluation.exam import Exam
from counterbench.evaluation.numbers import clusters, ends, ratios_of
from counterbench.metrics.base import Column
from counterbench.plans.question import Cause, names_of, words_of
from counterbench.records.estimate import Estimate
from counterbench.records.intervals import LEVEL, limits, spread_of
from counterbench.records.record import RowPart, RowSkillNumber
from counterbench.records.row_skill import (
    ESTIMATED_SKILL,
    LEAST_CHANGE,
    TRUTH_SKILL,
    UNANSWERED,
    RowSkill,
    bounded,
)

By = Literal["truth", "estimate"]


def row_skill(exam: Exam, columns: Mapping[str, Sequence[Column]], group: Tensor) -> RowSkillNumber | str:
    """How much nearer to the truth than doing nothing, or why nobody can say.

    Args:
        exam: the questions.
        columns: values of the row `model` and of the baselines.
        group: (N,), the cluster of each row of the test split.
    """
    causes = {words_of(names_of(cause)): cause for cause in exam.plan.causes}
    by = {name: _by(exam, cause) for name, cause in causes.items()}
    skills = {row: _skills(listed, by) for row, listed in columns.items()}
    estimates = _skills(columns["model"], dict.fromkeys(by, "estimate"))
    parts = [_part(exam, causes[name], how, skills, estimates.get(name)) for name, how in by.items()]
    entering = [part.intervened for part in parts if not part.left_out]
    if not entering:
        return _reasons(parts) or "no single intervention is asked"
    found = {}
    for row, known in skills.items():
        # The truth says nothing of interventions of which nobody knows it.
        names = [name for name in entering if row != "truth" or by[name] == "truth"]
        found[row] = _estimate(exam, [known.get(name) for name in names], group)
    own = found.pop("model")
    if own is None:
        return f"no answer to {', '.join(f'do({name})' for name in entering)}"
    references = {row: estimate for row, estimate in found.items() if estimate is not None}
    return RowSkillNumber(**own.model_dump(), parts=parts, references=references)


def _reasons(parts: Sequence[RowPart]) -> str:
    """Why interventions do not count, those with the same reason together."""
    alike: dict[str, list[str]] = {}
    for part in parts:
        alike.setdefault(part.left_out, []).append(f"do({part.intervened})")
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in alike.items())


def _by(exam: Exam, cause: Cause) -> By:
    """What says how good the answers to an intervention are."""
    return "truth" if exam.dataset.knows_truth(names_of(cause)) else "estimate"


def _skills(columns: Sequence[Column], by: Mapping[str, By]) -> dict[str, Column]:
    """Intervened variable -> scores behind its truth skill or its estimated skill."""
    wanted = {"truth": TRUTH_SKILL, "estimate": ESTIMATED_SKILL}
    found = {}
    for column in columns:
        name = column.cell.intervened_in_words
        if name in by and (column.metric, column.cell.quantity) == wanted[by[name]]:
            found[name] = column
    return found


def _part(
    exam: Exam, cause: Cause, by: By, skills: Mapping[str, Mapping[str, Column]], estimate: Column | None
) -> RowPart:
    """One intervention, and why it does not count, if so."""
    name = words_of(names_of(cause))
    own = skills["model"].get(name)
    nothing = skills.get("identity", {}).get(name, own)
    change = _change(exam, name, by, nothing)
    why = _left_out(exam, names_of(cause), by, change)
    skill = None if own is None or not change else own.point()
    counted = UNANSWERED if skill is None else float(bounded(np.array(1 - skill)))
    return RowPart(
        intervened=name,
        by=by,
        skill=skill,
        bounded=None if why else counted,
        true_change=change,
        estimated=None if estimate is None else estimate.point(),
        left_out=why,
    )


def _change(exam: Exam, name: str, by: By, nothing: Column | None) -> float | None:
    """How much an intervention changes: by the truth, else as pinned models answer it; None where nobody says."""
    if nothing is None:
        return None
    if by == "truth":
        return float(nothing.reference.mean())
    return exam.dataset.card.typical_change.get(exam.dataset.source, {}).get(name)


def _left_out(exam: Exam, names: tuple[str, ...], by: By, change: float | None) -> str:
    """Why an intervention orders nothing; empty if it does."""
    card = exam.dataset.card
    if len(names) > 1:
        return "it sets two variables at once"
    if card.variables[names[0]].changes_individual:
        return "it changes who it is"
    if change is None and by == "truth":
        return "nothing that is measured follows from it"
    if change is None:
        return "its true counterfactual is not known, and nothing estimates it"
    if card.image and change < LEAST_CHANGE:
        who = "the truth changes" if by == "truth" else "pinned models change"
        return f"{who} {change:.2g} grey levels, less than {LEAST_CHANGE:g}"
    return "the truth changes nothing" if change == 0 else ""


def equal_to_truth(columns: Sequence[Column]) -> str:
    """A warning where answers are the truth itself, to the last pixel: no model knows it so well. Empty otherwise."""
    errors = [
        (column.value, column.reference) for column in columns if (column.metric, column.cell.quantity) == TRUTH_SKILL
    ]
    changed = sum(int((change > 0).sum()) for _, change in errors)
    equal = sum(int(((change > 0) & (error == 0)).sum()) for error, change in errors)
    if not changed or equal <= changed / 2:
        return ""
    return f"answers equal the truth to the last pixel in {equal / changed:.0%} of the rows that it changes: the truth was known, not answered"


def _estimate(exam: Exam, columns: Sequence[Column | None], group: Tensor) -> Estimate | None:
    """Mean over interventions with its interval; an intervention without answers counts -1."""
    answered = [column for column in columns if column is not None]
    if not answered:
        return None
    index = exam.plan.index
    return skills_at(
        (LEVEL,),
        answered,
        index,
        group[index],
        unanswered=len(columns) - len(answered),
        resamples=exam.suite.resamples,
        seed=exam.seed,
    )[0]


def skills_at(
    levels: Sequence[float],
    columns: Sequence[Column],
    index: Tensor,
    group: Tensor,
    *,
    unanswered: int,
    resamples: int,
    seed: int,
) -> list[Estimate]:
    """The row skill with its interval at each of some levels, from one bootstrap.

    Args:
        levels: of the intervals.
        columns: scores behind the skill of each answered intervention.
        index: (N,), rows of the test split that were asked about.
        group: (N,), the cluster of each.
        unanswered: interventions without an answer; each counts -1.
        resamples: behind the interval.
        seed: of the resampling.
    """
    cluster_of, count = clusters(index, group)
    statistic = RowSkill(ratios_of(columns, cluster_of, count), unanswered)
    spread = spread_of(statistic, resamples, seed)
    found = []
    for level in levels:
        low, high = (float(end[0]) for end in limits(spread, level=level))
        inside = ends(max(low, UNANSWERED), min(high, 1.0))
        found.append(Estimate(value=float(spread.point[0]), **inside, n=min(len(column.index) for column in columns)))
    return found
