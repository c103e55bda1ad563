"""Checking a record against what this version would ask: the same questions, judges and data?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from counterbench.catalog.suites import suite_paths
from counterbench.datasets.base import Dataset
from counterbench.errors import CounterbenchError, RecordError
from counterbench.exam import Exam, prepare
from counterbench.plausibility import problems
from counterbench.records import Inputs, Record, file_of, read_record


@dataclass(frozen=True)
class Verdict:
    """What is to be said of one record.

    Args:
        path: of the file.
        problems: what cannot be; the record is invalid if there are any.
        notes: what could not be checked here, and why.
    """

    path: Path
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def validate(path: Path, data_dir: Path | None = None, data: bool = False) -> Verdict:
    """Check one record.

    Args:
        path: a record, or the folder of an evaluation.
        data_dir: where published data lies.
        data: also compare the fingerprints of pixels, which means rendering or reading them.
    """
    path = file_of(path)
    try:
        record = read_record(path)
    except RecordError as error:
        return Verdict(path, (str(error),))
    found, notes = problems(record), []
    try:
        exam = exam_of(record, data_dir)
    except CounterbenchError as error:
        return Verdict(path, tuple(found), (f"questions, judges and data cannot be checked here: {error}",))
    found += differences(record.inputs, exam, data)
    if record.inputs.plugins:
        notes.append(f"made with plug-ins: {', '.join(record.inputs.plugins)}")
    return Verdict(path, tuple(found), tuple(notes))


def exam_of(
    record: Record,
    data_dir: Path | None = None,
    device: str = "cpu",
    limit: int | None = None,
    dataset: Dataset | None = None,
) -> Exam:
    """The exam that a record says it took.

    Args:
        record: whose exam.
        data_dir: where published data lies.
        device: where judges compute.
        limit: ask about the first samples only; None for as many as the record did.
        dataset: loaded already; None to load it.

    Raises:
        RecordError: for a suite that this version does not have. Whatever :func:`counterbench.exam.prepare` raises.
    """
    inputs = record.inputs
    if inputs.suite not in suite_paths():
        raise RecordError(f"the suite {inputs.suite!r} is none of {', '.join(suite_paths())}")
    return prepare(
        dataset or inputs.dataset,
        inputs.suite,
        inputs.source,
        data_dir,
        list(inputs.metrics),
        inputs.seed,
        limit or inputs.limit,
        device,
    )


def differences(inputs: Inputs, exam: Exam, data: bool = False) -> Iterator[str]:
    """What a record says of questions, judges and data, and this version does not."""
    if inputs.plan != exam.plan.hash:
        yield f"other questions than suite {inputs.suite!r} with seed {inputs.seed} asks: plan {inputs.plan[:12]}, here {exam.plan.hash[:12]}"
    judges = {name: panel.fingerprints for name, panel in exam.panels.items()}
    for name in sorted(inputs.judges.keys() | judges.keys()):
        if inputs.judges.get(name) != judges.get(name):
            yield f"other judges of {name}: {inputs.judges.get(name, 'none')}, here {judges.get(name, 'none')}"
    options = {name: dict(given) for name, given in exam.metrics.items()}
    for name in sorted(inputs.metrics.keys() & options.keys()):
        if inputs.metrics[name] != options[name]:
            yield f"other options of {name}: {inputs.metrics[name]}, in suite {inputs.suite!r} {options[name]}"
    if data:
        for name, fingerprint in exam.fingerprints.items():
            if name != "card" and inputs.data.get(name) not in (None, fingerprint):
                yield f"other data ({name}): {inputs.data[name][:12]}, here {fingerprint[:12]}"
