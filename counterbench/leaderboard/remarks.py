"""What a reader must know of a row, each as a short tag and in words. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from counterbench.records.record import NOT_SHOWN, UNSTEADY, Record
from counterbench.runtime.terminal import one_line
from counterbench.runtime.words import counted


@dataclass(frozen=True)
class Remark:
    """One thing to know.

    Args:
        tag: two or three words for a narrow table.
        words: the whole of it.
    """

    tag: str
    words: str


def remarks(record: Record) -> tuple[Remark, ...]:
    """All of a record, on one line each."""
    return tuple(Remark(one_line(tag), one_line(words)) for tag, words in _told(record))


def _told(record: Record) -> Iterator[tuple[str, str]]:
    if record.group:
        yield f"{len(record.group)} trainings", record.trainings_in_words
    if record.partial:
        part = f"{record.images:,} of {record.test_images:,} images"
        yield part if record.images < record.test_images else "partial", f"partial: {record.partial}"
    if record.leaked:
        yield "leaked", f"leaked: {counted(len(record.leaked), 'numbers')} from judges that it was trained against"
    if disputed := record.disputed_in_words:
        yield "judges disagree", f"its judges disagree on {disputed}"
    if record.inputs.plugins:
        yield "plug-in", f"plug-in: {', '.join(record.inputs.plugins)}"
    if record.coverage is not None:
        usable, asked = (sum(counts.get(name, 0) for counts in record.coverage.rounds) for name in ("usable", "asked"))
        yield "files", f"answers from files: {usable:,} of {asked:,} can be used"
    if record.origin == "kept":
        yield "judged again", "judged again from the answers that were kept"
    if record.row_skill is not None:
        silent = [part.intervened for part in record.row_skill.parts if part.skill is None and not part.left_out]
        if silent:
            yield "unanswered", f"no answer to {', '.join(f'do({name})' for name in silent)}, which counts -1"
    for flag in record.flags:
        yield "no rank" if flag.startswith(UNSTEADY) else "kept?" if flag.startswith(NOT_SHOWN) else "warning", flag
    if record.trained_on not in (None, record.inputs.source):
        yield "other source", f"trained on the source {record.trained_on}, evaluated on {record.inputs.source}"
