"""Tables of a sweep: its jobs, and what came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from counterbench.records.table import interval, show
from counterbench.runtime.words import counted
from counterbench.sweeps import state
from counterbench.sweeps.state import Seen

if TYPE_CHECKING:
    from rich.table import Table

    from counterbench.leaderboard.board import Board

WIDTH = 100
"""Characters, where stdout is no terminal."""
_STYLES = {"done": "green", "running": "cyan", "interrupted": "yellow", "failed": "red", "missing": ""}


def build(seen: Sequence[Seen], width: int) -> Table:
    """A line per job; of failed ones the log as well.

    Args:
        seen: the jobs.
        width: characters that there are.
    """
    from rich.table import Table

    costs = state.costs(seen)
    table = Table(box=None, pad_edge=False, width=min(width, WIDTH))
    for name, right in (("job", True), ("kind", False), ("what", False), ("state", False), ("time", True)):
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "what", overflow="fold")
    for one in seen:
        taken = (
            _time(one.seconds)
            if one.seconds is not None
            else f"~{_time(costs[one.job.number])}"
            if one.job.number in costs
            else "-"
        )
        what = f"{one.job.name}\n{one.log}" if one.state == "failed" else one.job.name
        table.add_row(str(one.job.number), one.job.kind, what, one.state, taken, style=_STYLES[one.state])
    return table


def summary(seen: Sequence[Seen]) -> str:
    """One line: how many jobs are in which state, and what is left to do, as far as it can be told from what is done."""
    counts: Counter[str] = Counter(one.state for one in seen)
    words = ", ".join(f"{counts[name]} {name}" for name in _STYLES if counts[name])
    costs = state.costs(seen)
    unknown = sum(one.state not in ("done", "running") and one.job.number not in costs for one in seen)
    left = sum(costs[one.job.number] for one in seen if one.state != "running" and one.job.number in costs)
    more = f"; {unknown} of unknown cost" if unknown else ""
    return f"{counted(len(seen), 'jobs')}: {words}" + (f"; some {_time(left)} of work are left{more}" if left else "")


def as_json(seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """Plain data, a job each."""
    costs = state.costs(seen)
    return [
        {
            "job": one.job.number,
            "kind": one.job.kind,
            "name": one.job.name,
            "state": one.state,
            "needs": list(one.job.needs),
            "command": ["counterbench", *one.job.words],
            "seconds": one.seconds,
            "estimate": costs.get(one.job.number),
            "log": str(one.log) if one.log.exists() else None,
        }
        for one in seen
    ]


def results(boards: Sequence[Board]) -> Table:
    """Row skill of every row of every board."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("board", "model", "row skill"):
        table.add_column(name, overflow="fold")
    for board in boards:
        for row in board.rows:
            skill = row.record.row_skill
            table.add_row(board.name, row.name, "-" if skill is None else f"{show(skill.value)} {interval(skill)}")
    return table


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
