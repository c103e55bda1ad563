"""Several trainings of one recipe in a sweep: one record of them all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from counterbench.evaluation import results_folder
from counterbench.evaluation.ensembles import compared_where_kept
from counterbench.leaderboard import groups
from counterbench.records.record import RECORD, read_record
from counterbench.sweeps import state
from counterbench.sweeps.jobs import Job

GROUPS = "groups"
"""In the folder of a sweep: records of several trainings."""


MANY = 60
"""Rows of a board beyond which trainings give way to their group: every two rows are compared."""


def on_boards(records: Sequence[Path], grouped: Sequence[Path]) -> list[Path]:
    """The records that boards show: all of them, or where they are many, groups instead of their trainings.

    Args:
        records: of single trainings, and of what was not trained.
        grouped: of several trainings.
    """
    if len(records) + len(grouped) <= MANY:
        return [*records, *grouped]
    behind = {training.record for path in grouped for training in read_record(path).group}
    return [*(path for path in records if read_record(path).inputs.hash not in behind), *grouped]


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
