"""What is on each page, as plain data for the templates. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import yaml

from counterbench.leaderboard import charts, worst
from counterbench.leaderboard.board import Board, Row, Standing
from counterbench.leaderboard.formats import about_order, show_place
from counterbench.records.estimate import Estimate, regret
from counterbench.records.record import CEILINGS, FLOORS, Number, Record
from counterbench.records.summary import MEANING, WITHOUT_IMAGES, by_question, columns_of, kept, percent
from counterbench.records.table import (
    ARROWS,
    beaten,
    interval,
    label,
    show,
    shown_numbers,
    where,
)
from counterbench.records.totals import Key
from counterbench.records.words import phrase
from counterbench.runtime.terminal import one_line

if TYPE_CHECKING:
    from counterbench.leaderboard.album import Album

WORDS = {
    "identity": "the image unchanged",
    "noise": "white noise added to the image",
    "retrieve": "the most similar real training image with the wanted attributes",
    "resample": "a random real training image with the wanted attributes",
    "truth": "the true counterfactual",
    "oracle": "the counterfactual rendered exactly, with the luck that no image shows drawn from its law",
    "oracle_median": "the median of 20 answers of the oracle, pixel by pixel",
    "real": "real images with the counterfactual attributes, held against those",
}
BETTER = {
    "lower": "lower is better",
    "higher": "higher is better",
    "one": "better the nearer to 1",
    "zero": "better the nearer to 0",
    "half": "better the nearer to one half",
}


def title(board: Board) -> str:
    """What a board is about."""
    return one_line(f"{board.dataset} / {board.source}, suite {board.exam}")


def index(boards: Sequence[Board]) -> dict[str, Any]:
    """All boards, with who leads."""
    return {
        "boards": [
            {
                "name": board.name,
                "title": title(board),
                "images": max((row.record.images for row in board.rows), default=0),
                "metrics": [metric.replace("_", " ") for metric in board.metrics],
                "rows": [
                    {"name": row.name, "skill": show(row.skill.value) if row.skill else "unknown"} for row in board.rows
                ],
            }
            for board in boards
        ]
    }


def board(given: Board) -> dict[str, Any]:
    """A leaderboard: a summary, then one table per metric with models above floors and ceilings."""
    return {
        "title": title(given),
        "notes": list(given.notes),
        "order": about_order(given),
        "skills": charts.skills([(line.name, line.skill, line.row is None) for line in given.lines if line.skill]),
        "summary": [_summary(line) for line in given.lines],
        "worst": worst.of_board(given),
        "tables": [_table(given, metric) for metric in given.metrics],
        "doses": charts.doses({row.name: row.record for row in given.rows}),
        "baselines": [{"name": name, "words": WORDS[name]} for name in given.ends],
        "images": max((row.record.images for row in given.rows), default=0),
    }


def _summary(line: Standing) -> dict[str, Any]:
    skill = line.skill
    told = {
        "name": line.name,
        "place": {"sort": line.place.rank if line.place else "", "shown": show_place(line.place)},
        "skill": {
            "sort": -skill.value if skill else "",
            "shown": show(skill.value) if skill else "-",
            "interval": interval(skill) if skill and skill.low is not None else "",
        },
    }
    if line.row is None:
        return {
            **told,
            "baseline": True,
            "title": WORDS.get(line.name, ""),
            "remarks": [],
            **dict.fromkeys(_OF_MODELS, _NOTHING),
        }
    return {**told, "baseline": False, **_of_model(line.row)}


_OF_MODELS = ("change", "beaten", "parameters", "seconds", "trained")
_NOTHING = {"sort": "", "shown": "-"}


def _of_model(row: Row) -> dict[str, Any]:
    record = row.record
    costs = (number.value for number in record.numbers if number.role == "resource" and number.unit == "s")
    seconds = next(costs, None)  # those of an answer come before those of training
    trained = record.training.get("seconds")
    trained = trained if isinstance(trained, (int, float)) else None
    return {
        "title": record.title,
        "change": _NOTHING
        if row.change_skill is None
        else {"sort": -row.change_skill, "shown": show(row.change_skill)},
        "beaten": {"sort": row.beaten[0], "shown": "{} of {}".format(*row.beaten)},
        "parameters": {"sort": record.parameters, "shown": f"{record.parameters:,}"},
        "seconds": {
            "sort": seconds if seconds is not None else "",
            "shown": f"{1000 * seconds:.3g} ms" if seconds else "-",
        },
        "trained": {"sort": trained or "", "shown": f"{trained / 60:.0f} min" if trained else "-"},
        "remarks": list(row.remarks),
    }


def _words(name: str) -> str:
    return name.replace("_", " ")


def _table(given: Board, metric: str) -> dict[str, Any]:
    keys = [key for key in given.columns if key[0] == metric]
    return {
        "id": metric,
        "title": _words(metric),
        "columns": [_column(given.columns[key]) for key in keys],
        "rows": [
            {"name": row.name, "cells": [_cell(row, key, given.best_rank(key)) for key in keys]} for row in given.rows
        ],
        "ends": [
            {
                "name": name,
                "words": WORDS[name],
                "kind": "ceiling" if name in CEILINGS else "floor",
                "cells": [_end(known.get(key)) for key in keys],
            }
            for name, known in given.ends.items()
            if any(key in known for key in keys)
        ],
    }


def _end(estimate: Estimate | None) -> dict[str, str]:
    if estimate is None:
        return {"shown": "-", "interval": ""}
    return {"shown": show(estimate.value), "interval": interval(estimate) if estimate.low is not None else ""}


def _column(number: Number) -> dict[str, str]:
    unit = f" ({number.unit})" if number.unit else ""
    return {
        "where": where(number),
        "label": label(number) + unit,
        "arrow": ARROWS[number.direction],
        "better": BETTER[number.direction],
        "phrase": phrase(number),
    }


def _cell(row: Row, key: Key, best: int | None = None) -> dict[str, Any]:
    number = row.number(key)
    if number is None:
        return {
            "sort": "",
            "shown": "-",
            "interval": "",
            "rank": "",
            "barred": "",
            "first": False,
            "leaked": False,
            "beaten": "",
        }
    rank = row.ranks.get(key)
    return {
        "sort": number.regret,
        "shown": show(number.value),
        "interval": interval(number) if number.low is not None else "",
        "rank": rank or "",
        "barred": "" if rank or number.role != "headline" else row.barred.get(key, ""),
        "first": rank is not None and rank == best,
        "leaked": number.leaked,
        "beaten": " and ".join(beaten(number)),
    }


# --- one model --------------------------------------------------------------------------------------------------------


def model(given: Board, row: Row, album: Album | None) -> dict[str, Any]:
    """Everything about one model on one board."""
    record = row.record
    pictured = None if album is None else album.models.get(row.name)
    return {
        "board_title": title(given),
        "name": row.name,
        "title": record.title,
        "remarks": list(row.remarks),
        "short": _short(record),
        "notes": [*record.notes, *(f"{what}: {why}" for what, why in record.skipped.items())],
        "facts": _facts(record),
        "recipe": yaml.safe_dump(record.inputs.recipe, sort_keys=False, width=110) if record.inputs.recipe else "",
        "numbers": _numbers(record, row),
        "subgroups": worst.of_record(record),
        "ends": [name for name in (*FLOORS, *CEILINGS) if any(name in number.references for number in record.numbers)],
        "heat": _heat(record),
        "cycles": charts.cycles(record),
        "doses": charts.doses({row.name: record}),
        "curves": charts.training(pictured.curves) if pictured is not None and pictured.curves else "",
        "extremes": list(pictured.extremes) if pictured is not None else [],
        "missing": "" if pictured is not None else _why(row, album),
        "drawn": "" if album is None else album.drawn.get(row.name, ""),
        **_layers(album),
    }


def _layers(album: Album | None) -> dict[str, Any]:
    """What can be laid over the pictures of a page."""
    if album is None:
        return {"layers": {}, "switches": {}, "parts": {}}
    return {"layers": dict(album.layers), "switches": album.switches, "parts": dict(album.parts)}


def _why(row: Row, album: Album | None) -> str:
    return "no pictures were made" if album is None else album.missing.get(row.name, "no pictures were made")


def _facts(record: Record) -> list[tuple[str, str]]:
    inputs, training = record.inputs, record.training
    facts = [
        (
            "asked about",
            f"{record.images:,} of {record.test_images:,} test images, {record.clusters:,} independent units",
        ),
        ("questions", ", ".join(f"{count:,} {kind}" for kind, count in record.questions.items())),
        (
            "weights",
            f"{record.parameters:,} numbers, SHA-256 {inputs.weights_sha256}" if inputs.weights_sha256 else "none",
        ),
        ("plan", f"SHA-256 {inputs.plan}"),
        ("seed", str(inputs.seed)),
        *([] if inputs.exam_seed is None else [("exam seed", str(inputs.exam_seed))]),
        (
            "trained on",
            ", ".join(f"{key} {value}" for key, value in training.items() if value not in (None, [], {})) or "-",
        ),
        ("pixel-noise temperature", "-" if record.pixel_temperature is None else f"{record.pixel_temperature:g}"),
        ("evaluated", f"in {record.seconds.get('total', 0):.0f} s on {record.device}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
        ("record", f"SHA-256 of its inputs {inputs.hash}"),
    ]
    if inputs.plugins:
        facts.append(("plug-ins", ", ".join(f"{name} ({sha[:12]})" for name, sha in inputs.plugins.items())))
    return facts


def _numbers(record: Record, row: Row) -> list[dict[str, Any]]:
    return [
        {
            "metric": _words(number.metric),
            **_column(number),
            **_cell(row, number.key),
            "n": number.n,
            "ends": {name: show(end.value) for name, end in number.references.items()},
        }
        for number in shown_numbers(record, detail=True)
    ]


def _short(record: Record) -> dict[str, Any]:
    """The record in short: of every question, where it lies between doing nothing and the truth."""
    columns = [(column, by_question(record, column)) for column in (*WITHOUT_IMAGES, *columns_of(record))]
    columns = [(column, told) for column, told in dict(columns).items() if told]
    asked = list(dict.fromkeys(name for _, told in columns for name in told))
    null = kept(record)
    return {
        "skill": "" if record.row_skill is None else f"{show(record.row_skill.value)} {interval(record.row_skill)}",
        "columns": [{"title": column.title, "words": MEANING[column.title]} for column, _ in columns],
        "rows": [{"name": name, "cells": [_position(told.get(name)) for _, told in columns]} for name in asked],
        "kept": "" if null is None else percent(null[1]),
    }


def _position(told: tuple[Number, float] | None) -> dict[str, Any]:
    if told is None:
        return {"shown": "-", "share": None}
    return {"shown": percent(told[1]), "share": round(min(1.0, max(0.0, told[1])), 3)}


def _heat(record: Record) -> dict[str, Any]:
    """Effectiveness of each attribute under each intervention: 1 is as good as the ceiling, 0 as bad as the worst row."""
    chosen: dict[tuple[str, str], Number] = {}
    for number in record.numbers:
        if _is_warm(number):
            chosen.setdefault((number.intervened, number.measured), number)
    rows = list(dict.fromkeys(key[0] for key in chosen))
    columns = list(dict.fromkeys(key[1] for key in chosen))
    return {
        "columns": columns,
        "rows": [{"name": name, "cells": [_warmth(chosen.get((name, column))) for column in columns]} for name in rows],
    }


def _is_warm(number: Number) -> bool:
    """Whether a number is of one attribute of the answered image under one intervention, which doing nothing does not win."""
    plain = number.role == "headline" and number.kind == number.statistic == "mean"
    return plain and bool(number.intervened and number.measured) and number.of_identity is None and not number.given


def _warmth(number: Number | None) -> dict[str, Any]:
    if number is None:
        return {"shown": "-", "share": None, "words": ""}
    regrets = [regret(end.value, number.direction) for end in number.references.values()]
    worst, best = max([*regrets, number.regret]), min([*regrets, number.regret])
    share = (worst - number.regret) / (worst - best) if worst > best else 1.0
    return {
        "shown": f"{show(number.value)} {number.unit}".strip(),
        "share": round(share, 3),
        "words": f"{label(number)} under do({number.intervened})",
    }


# --- two models, and the viewer ---------------------------------------------------------------------------------------


def comparison(given: Board) -> dict[str, Any]:
    """Paired differences of every two models, for the script to choose from."""
    rows = {row.name: row for row in given.rows if row.name in given.ranking.ranks}
    data = []
    between_models = (one for one in given.ranking.differences if one.first in rows and one.second in rows)
    for one in between_models:
        first, second = (rows[name].record.by_key[one.key] for name in (one.first, one.second))
        data.append(
            {
                "first": one.first,
                "second": one.second,
                "metric": _words(one.key[0]),
                **_column(first),
                "a": _told(first),
                "b": _told(second),
                "difference": show(one.value),
                "interval": f"[{show(one.low)}, {show(one.high)}]" if one.low == one.low else "",
                "p": "< 0.001" if one.p_bootstrap < 0.001 else f"{one.p_bootstrap:.3f}",
                "better": one.better or "",
            }
        )
    return {"title": title(given), "models": list(rows), "clusters": given.ranking.clusters, "data": data}


def _told(estimate: Estimate) -> str:
    return f"{show(estimate.value)} {interval(estimate)}" if estimate.low is not None else show(estimate.value)


def viewer(given: Board, album: Album | None) -> dict[str, Any]:
    """The same images under each model, truth beside them."""
    return {
        "title": title(given),
        "questions": [] if album is None else album.viewed(),
        "slices": [] if album is None else list(album.slices),
        **_layers(album),
        "missing": {} if album is None else dict(album.missing),
        "there": album is not None,
    }
