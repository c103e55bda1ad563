"""What came out of adapting a model in many ways: medians over seeds, what is best for how many samples, and from where on full training wins."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from counterbench.judges.loading import FURTHER
from counterbench.records.record import Number, Record

FULL = "full"
ROW_SKILL = "row skill"


@dataclass(frozen=True)
class Opening:
    """One way to adapt a model, over its trainings.

    Args:
        kind: what was opened, with the options of the adapter.
        samples: that it was trained on; None for all.
        rate: the learning rate of its first stage.
        opened: how many numbers moved.
        seconds: of a training, the median.
        seeds: how many trainings there are.
        values: column -> median over trainings.
        better: column -> `higher` or `lower`.
    """

    kind: str
    samples: int | None
    rate: float
    opened: int
    seconds: float
    seeds: int
    values: Mapping[str, float]
    better: Mapping[str, str]


def openings(records: Iterable[Record]) -> list[Opening]:
    """Every way in which a model was adapted, most samples last.

    Args:
        records: of one suite; those of models that were not adapted are passed over.
    """
    alike: dict[tuple[str, int, float], list[Record]] = {}
    for record in records:
        way = way_of(record)
        if way is not None:
            alike.setdefault(way, []).append(record)
    return [_opening(*way, found) for way, found in sorted(alike.items())]


def way_of(record: Record) -> tuple[str, int, float] | None:
    """How the model of a record was adapted: what was opened, number of samples (0 for all), learning rate; None for one that was not."""
    recipe = record.inputs.recipe
    stages = [stage for entry in recipe.get("mechanisms", {}).values() for stage in entry.get("stages", ())]
    adapted = next((stage for stage in stages if stage.get("adapt")), None)
    if adapted is None:
        return None
    limit = (recipe.get("rows") or {}).get("limit") or 0
    return _in_words(adapted["adapt"]), limit, adapted["fit"]["learning_rate"]


def _in_words(adapt: Mapping[str, Any]) -> str:
    """What is opened, with the options of the adapter."""
    said = [f"{name}={value}" for name, value in adapt["options"].items()]
    if (within := adapt.get("within")) is not None:
        said.append(f"within={within if isinstance(within, str) else '+'.join(within)}")
    kind: str = adapt["kind"]
    return kind + (f":{','.join(said)}" if said else "")


def _opening(kind: str, limit: int, rate: float, records: Sequence[Record]) -> Opening:
    each = [_columns(record) for record in records]
    better = {name: way for columns in each for name, (_, way) in columns.items()}
    values = {name: median(columns[name][0] for columns in each if name in columns) for name in better}
    seconds = [record.training.get("seconds") or 0.0 for record in records]
    opened = int(records[0].training.get("opened") or 0)
    return Opening(kind, limit or None, rate, opened, median(seconds), len(records), values, better)


def _columns(record: Record) -> dict[str, tuple[float, str]]:
    """Row skill, and of every metric the mean over interventions of its headline numbers between 0 and 1, or of its skills."""
    columns = {} if record.row_skill is None else {ROW_SKILL: (record.row_skill.value, "higher")}
    grouped: dict[str, list[Number]] = {}
    for number in record.numbers:
        comparable = number.kind == "skill" or number.bounds == (0.0, 1.0)
        if comparable and number.role == "headline" and number.direction in ("higher", "lower"):
            said = f"{number.metric}: {number.label or number.quantity.replace('_', ' ')}"
            grouped.setdefault(said, []).append(number)
    return columns | {name: (fmean(n.value for n in found), found[0].direction) for name, found in grouped.items()}


def openings_of_judges(reports: Iterable[tuple[Mapping[str, Any], float]]) -> list[Opening]:
    """Every way in which judges were adapted, most samples last; errors and accuracies on the test images that they were adapted to.

    Args:
        reports: what `train-judges` has written, and the seconds that it took.
    """
    alike: dict[tuple[str, int, float], list[tuple[dict[str, tuple[float, str]], int, float]]] = {}
    for report, seconds in reports:
        way = _in_words(report["adapt"]), (report["rows"] or {}).get("limit") or 0, report["fit"]["learning_rate"]
        moved = sum(network["opened"] for network in report[FURTHER].values())
        alike.setdefault(way, []).append((_figures(report), moved, seconds))
    return [
        Opening(
            *(kind, limit or None, rate, found[0][1], median(seconds for _, _, seconds in found), len(found)),
            values={name: median(figures[name][0] for figures, _, _ in found) for name in found[0][0]},
            better={name: way for name, (_, way) in found[0][0].items()},
        )
        for (kind, limit, rate), found in sorted(alike.items())
    ]


def _figures(report: Mapping[str, Any]) -> dict[str, tuple[float, str]]:
    """Variable -> its error or accuracy, the median over networks and the mean over sources, and what is better."""
    found: dict[str, list[float]] = {}
    better = {"accuracy": "higher", "mean_absolute_error": "lower"}
    for network in report[FURTHER].values():
        for variable, sources in network["quality"].items():
            for quantity in better:
                values = [figures[quantity] for figures in sources.values() if quantity in figures]
                if values:
                    found.setdefault(f"{variable}: {quantity.replace('_', ' ')}", []).append(fmean(values))
    return {name: (median(values), better[name.partition(": ")[2].replace(" ", "_")]) for name, values in found.items()}


def chosen_by(found: Sequence[Opening]) -> str:
    """The column by which learning rates are chosen: row skill, or else the first."""
    columns = [name for one in found for name in one.values]
    return ROW_SKILL if ROW_SKILL in columns or not columns else columns[0]


def best_rates(found: Sequence[Opening], column: str = ROW_SKILL) -> list[Opening]:
    """Of every kind and number of samples the learning rate that did best; the choice was made by the same numbers, which flatters it a little.

    Args:
        found: all ways.
        column: by which it is chosen.
    """
    best: dict[tuple[str, int | None], Opening] = {}
    for one in found:
        key = one.kind, one.samples
        if key not in best or _ahead(one, best[key], column):
            best[key] = one
    return sorted(best.values(), key=lambda one: (one.samples or float("inf"), one.kind))


def crossovers(best: Sequence[Opening]) -> dict[str, int | None]:
    """Column -> the least number of samples from which on full training is ahead of every other kind; None where it never is.

    Args:
        best: one way of every kind and number of samples, all of them with numbers of samples.
    """
    sizes = sorted({one.samples for one in best if one.samples is not None})
    found: dict[str, int | None] = {}
    for column in {name for one in best for name in one.values}:
        wins = [_full_wins([one for one in best if one.samples == size], column) for size in sizes]
        last_loss = max((place for place, won in enumerate(wins) if not won), default=-1)
        found[column] = sizes[last_loss + 1] if last_loss + 1 < len(sizes) else None
    return dict(sorted(found.items()))


def _full_wins(best: Sequence[Opening], column: str) -> bool:
    full = next((one for one in best if one.kind == FULL and column in one.values), None)
    others = [one for one in best if one.kind != FULL and column in one.values]
    return full is not None and bool(others) and all(_ahead(full, other, column) for other in others)


def _ahead(one: Opening, other: Opening, column: str) -> bool:
    if column not in one.values or column not in other.values:
        return column in one.values
    sign = -1 if one.better[column] == "lower" else 1
    return sign * one.values[column] > sign * other.values[column]


def curves(best: Sequence[Opening]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Column -> kind -> (samples, value), for a picture.

    Args:
        best: one way of every kind and number of samples.
    """
    drawn: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for one in best:
        for name, value in one.values.items():
            if one.samples is not None:
                drawn.setdefault(name, {}).setdefault(one.kind, []).append((one.samples, value))
    return drawn


def as_markdown(best: Sequence[Opening], crossed: Mapping[str, int | None]) -> str:
    """A table for people.

    Args:
        best: one way of every kind and number of samples.
        crossed: from :func:`crossovers`.
    """
    columns = list(dict.fromkeys(name for one in best for name in one.values))
    heads = ["samples", "opened", "numbers", "rate", "seconds", "seeds", *columns]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for one in best:
        said = [one.samples or "all", one.kind, f"{one.opened:,}", f"{one.rate:g}", f"{one.seconds:.0f}", one.seeds]
        said += [f"{one.values[name]:.3g}" if name in one.values else "-" for name in columns]
        lines.append("| " + " | ".join(map(str, said)) + " |")
    lines += [
        "",
        f"Medians over seeds. Of every kind the learning rate with the best {chosen_by(best)} is shown, chosen by these same numbers.",
    ]
    for name, size in crossed.items():
        lines.append(
            f"- {name}: full training is {f'ahead of all others from {size} samples on' if size else 'never ahead of all others'}"
        )
    return "\n".join(lines) + "\n"


def as_json(found: Sequence[Opening], crossed: Mapping[str, int | None]) -> str:
    """Everything, as plain data."""
    plain: dict[str, Any] = {"openings": [asdict(one) for one in found], "crossovers": dict(crossed)}
    return json.dumps(plain, indent=1) + "\n"
