"""Worst subgroups on boards and pages, as plain data. Imports no torch."""

from __future__ import annotations

from typing import Any

from counterbench.leaderboard.board import Board
from counterbench.records.record import Record
from counterbench.records.subgroups import BySubgroup, Subgroups
from counterbench.records.table import ARROWS, interval, label, show, shown_numbers, where


def of_board(board: Board) -> list[dict[str, Any]]:
    """Row skill in the worst subgroup, a table for every division that some record has."""
    divisions = dict.fromkeys(divided.by for row in board.rows for divided in row.record.subgroups)
    tables = []
    for by in divisions:
        rows = []
        for row in board.rows:
            divided = next((one for one in row.record.subgroups if one.by == by), None)
            if divided is None or divided.row_skill is None or row.record.row_skill is None:
                continue
            rows.append({"name": row.name, "all": show(row.record.row_skill.value), **_told(divided.row_skill)})
        if rows:
            tables.append({"by": by, "rows": rows})
    return tables


def of_record(record: Record) -> list[dict[str, Any]]:
    """Every headline number in all subgroups, a table for every division."""
    return [_table(record, divided) for divided in record.subgroups]


def _table(record: Record, divided: Subgroups) -> dict[str, Any]:
    known = {one.key: one for one in divided.numbers}
    rows = []
    if divided.row_skill is not None and record.row_skill is not None:
        rows.append(_line("row skill", show(record.row_skill.value), divided.row_skill))
    for number in shown_numbers(record):
        if number.key in known:
            about = " ".join(filter(None, (number.metric.replace("_", " "), where(number), number.space)))
            words = f"{about}: {label(number)} {ARROWS[number.direction]}"
            rows.append(_line(words, show(number.value), known[number.key]))
    sizes = zip(divided.names, divided.images, strict=True)
    return {
        "by": divided.by,
        "names": divided.names,
        "images": ", ".join(f"{name}: {count:,}" for name, count in sizes),
        "rows": rows,
    }


def _line(words: str, over_all: str, one: BySubgroup) -> dict[str, Any]:
    cells = ["-" if value is None else show(value.value) for value in one.values]
    return {"label": words, "all": over_all, "cells": cells, **_told(one)}


def _told(one: BySubgroup) -> dict[str, str]:
    return {
        "worst": "-" if one.worst is None else show(one.worst.value),
        "which": one.worst_name or "-",
        "interval": interval(one.worst) if one.worst else "",
        "gap": "-" if one.gap is None else show(one.gap.value),
        "gap_interval": interval(one.gap) if one.gap else "",
    }
