"""Rebuilds the exam that a record names in its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from counterbench import datasets
from counterbench.catalog.suites import suite_paths
from counterbench.datasets.dataset import Dataset
from counterbench.errors import RecordError, UnknownNameError
from counterbench.evaluation.exam import Exam, draws_option, prepare, seen_option
from counterbench.records.record import Record


def exam_of(
    record: Record,
    data_dir: Path | None = None,
    *,
    device: str = "cpu",
    limit: int | None = None,
    dataset: Dataset | str | None = None,
    suite: str | None = None,
    metrics: Sequence[str] | None = None,
) -> Exam:
    """The exam that a record says it took.

    Args:
        record: whose exam.
        data_dir: where published data lies.
        device: where judges compute.
        limit: ask about the first samples only; None for as many as the record did.
        dataset: loaded already, or where its card is; None to look it up by the name in the record.
        suite: a name or a file; None to look it up by the name in the record.
        metrics: names; None for those of the record.

    Raises:
        RecordError: for a suite that this version does not have, or a dataset that is not in the catalogue: a path in a record is
            not followed. Whatever :func:`counterbench.evaluation.exam.prepare` raises.
    """
    inputs = record.inputs
    if dataset is None and inputs.dataset not in datasets.names():
        error = UnknownNameError("dataset", inputs.dataset, datasets.names())
        raise RecordError(f"{error} If its card is in a file, give it with --dataset")
    if isinstance(dataset, str) and (declared := datasets.card(dataset).name) != inputs.dataset:
        raise RecordError(f"the card {dataset} declares {declared!r}; the record is about {inputs.dataset!r}")
    if suite is None and inputs.suite not in suite_paths():
        raise RecordError(
            f"the suite {inputs.suite!r} is none of {', '.join(suite_paths())}. If it is in a file, give it with --suite"
        )
    names = list(inputs.metrics if metrics is None else metrics)
    judge_of_draws, count = draws_option()
    seen = next(
        (options[option] for name, options in inputs.metrics.items() if (option := seen_option(name)) in options), None
    )
    return prepare(
        dataset or inputs.dataset,
        suite or inputs.suite,
        source=inputs.source,
        data_dir=data_dir,
        metrics=names,
        draws=inputs.metrics.get(judge_of_draws, {}).get(count) if judge_of_draws in names else None,
        seen=seen,
        seed=inputs.seed,
        exam_seed=inputs.exam_seed,
        limit=limit or inputs.limit,
        device=device,
    )
