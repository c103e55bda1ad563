"""Several trainings of one recipe in a sweep: one record of them all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from counterbench.evaluation import results_folder
from counterbench.evaluation.ensembles import compared_where_kept
from counterbench.leaderboard import groups
from counterbench.records.record import RECORD
from counterbench.sweeps import state
from counterbench.sweeps.jobs import Job

GROUPS = "groups"
"""In the folder of a sweep: records of several trainings."""


def together(jobs: Sequence[Job], folder: Path) -> list[Path]:
    """Make one record of each recipe's trainings that are done, where there are at least two; returns where they lie.

    Args:
        jobs: of the sweep.
        folder: of the sweep.

    Raises:
        RecordError: if records of one recipe do not fit together.
    """
    rows: dict[str, list[Path]] = {}
    for job in jobs:
        if job.row and state.result_is_there(job, folder) and (path := state.record_of(job, folder)):
            rows.setdefault(job.row, []).append(path)
    made = []
    for row, paths in rows.items():
        if len(paths) < 2:
            continue
        record, totals = groups.group(paths, compared=compared_where_kept(paths))
        place = folder / GROUPS / row
        place.mkdir(parents=True, exist_ok=True)
        results_folder.save_group(record, totals, place)
        made.append(place / RECORD)
    return made
