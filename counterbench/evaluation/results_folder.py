"""An evaluation on disk: one folder with the record, the scores per sample and pictures."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterbench import plans
from counterbench.errors import RecordError
from counterbench.evaluation import kept_answers
from counterbench.evaluation.evaluation import Evaluation
from counterbench.evaluation.stored_scores import SETS
from counterbench.records import totals
from counterbench.records.record import RECORD, SAMPLES, TOTALS, Inputs, Record, read_record, write_record
from counterbench.records.totals import Totals
from counterbench.storage.figures import save_figure
from counterbench.storage.files import UNFINISHED, atomic, same_time, slug
from counterbench.storage.tensors import write_tensors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAN, GRID, DOSES = "plan.parquet", "grid.png", "dose-response.png"


def folder_of(inputs: Inputs, output: Path) -> Path:
    """Where the evaluation with these inputs lies: other inputs lie elsewhere, so nothing is ever replaced by accident."""
    parts = (f"{inputs.dataset}-{inputs.source}", inputs.suite, f"{Path(inputs.model).name}-{inputs.hash[:10]}")
    return output.joinpath(*map(slug, parts))


def stored(folder: Path, inputs: Inputs) -> Record | None:
    """The whole record of an earlier run with the same inputs, or None.

    Raises:
        RecordError: if there is a file that is not that record.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    record = read_record(path)
    if record.inputs != inputs:
        raise RecordError(
            f"{path} was made from other inputs than its folder says; remove it, or use --overwrite always."
        )
    return record


def renamed(record: Record, name: str | None, folder: Path) -> Record:
    """The record under another name, stored; a name changes no number, so nothing is made again.

    Args:
        record: stored in `folder`.
        name: what tables are to call its model; None for the name of the recipe, baseline or plug-in.
        folder: of the evaluation.
    """
    if record.name == name:
        return record
    record = record.model_copy(update={"name": name})
    with same_time(folder / RECORD):
        write_record(record, folder / RECORD)
    return record


def save(evaluation: Evaluation, folder: Path, *, pictures: Mapping[str, Figure] | None = None) -> None:
    """Write the scores, the questions, the pictures and the answers, then the record: where there is a record, everything else is there too.

    Answers that were kept by an earlier run are removed: they are not those of this record.

    Args:
        evaluation: what is stored.
        folder: where.
        pictures: name of a file -> figure.
    """
    scores = write_samples(evaluation, folder / SAMPLES)
    totals.write(totals.of_table(scores, merge=True), folder / TOTALS)
    if evaluation.sets:
        write_tensors(folder / SETS, evaluation.sets)
    plans.save(evaluation.plan, folder / PLAN)
    for name, picture in (pictures or {}).items():
        save_figure(picture, folder / name)
    if evaluation.kept is None:
        kept_answers.discard(folder)
    else:
        keeping, manifest = evaluation.kept
        keeping.save(manifest, folder)
    write_record(evaluation.record, folder / RECORD)
    discard_chunks(folder)


def save_group(record: Record, scores: Totals, folder: Path) -> None:
    """Write a record of several trainings, the totals first.

    Args:
        record: of the group.
        scores: the totals behind it.
        folder: where.
    """
    totals.write(scores, folder / TOTALS)
    write_record(record, folder / RECORD)


def discard_chunks(folder: Path) -> None:
    """Remove what an evaluation has kept in case of an interruption."""
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)


def write_samples(evaluation: Evaluation, path: Path) -> Any:
    """Scores per sample, one row per score, as parquet; returns the table."""
    import pyarrow
    import pyarrow.parquet

    parts = []
    for column in evaluation.columns:
        count, cell = len(column.value), column.cell
        names = {
            "metric": column.metric,
            "quantity": cell.quantity,
            "intervened": cell.intervened_in_words,
            "measured": cell.measured,
            "space": cell.space,
        }
        table = {name: pyarrow.array([value] * count).dictionary_encode() for name, value in names.items()}
        table["cycles"] = pyarrow.array([cell.cycles] * count, pyarrow.int16())
        table["row"] = pyarrow.array(column.index.numpy())
        table["group"] = pyarrow.array(evaluation.group[column.index].numpy())
        table["score"] = pyarrow.array(column.value.numpy())
        table["relative_to"] = pyarrow.array(column.reference.numpy())
        parts.append(pyarrow.table(table))
    whole = pyarrow.concat_tables(parts).unify_dictionaries()
    with atomic(path) as temporary:
        pyarrow.parquet.write_table(whole, temporary)
    return whole
