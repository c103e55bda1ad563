"""Judging the kept answers of a record again: with new judges, metrics or feature spaces, and without the model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from counterbench import plans
from counterbench.errors import ConfigError, RecordError
from counterbench.evaluation.evaluation import AskedBefore
from counterbench.evaluation.exam import Exam
from counterbench.evaluation.exam_of_record import exam_of
from counterbench.evaluation.kept_answers import KeptAnswers, Manifest, read_manifest
from counterbench.evaluation.results_folder import PLAN
from counterbench.evaluation.stored_scores import columns_of, declared_cell
from counterbench.evaluation.taking import kinds_asked
from counterbench.models.model import Contestant
from counterbench.records.record import FOUND_BY_ASKING, Record, file_of, read_record

_NOTE = (
    "judged again from the answers that were kept when the model was asked; what only asking tells (costs, the metric abduction, whether "
    "answers depend on how they are asked for) is as its record says"
)


@dataclass(frozen=True)
class Rejudging:
    """The kept answers of a record, ready to be judged.

    Args:
        exam: the questions, and who judges now.
        contestant: the answers.
        before: what only asking the model could tell, as its record says it.
    """

    exam: Exam
    contestant: Contestant
    before: AskedBefore


def ready(
    path: Path,
    *,
    metrics: Sequence[str] | None = None,
    suite: str | None = None,
    dataset: str | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
) -> Rejudging:
    """Read the kept answers of a record, check that they are whole, and make the exam that judges them.

    Args:
        path: folder of an evaluation that kept its answers, or the record in it.
        metrics: names; None for those of the record.
        suite: whose options the metrics get, a name or a file; None for the record's.
        dataset: its card, where that is not in the catalogue, or where other judges are on it.
        data_dir: where published data lies.
        device: where judges compute.

    Raises:
        RecordError: if there are no kept answers, or they are damaged, missing or about something else. ConfigError: if a metric judges
            questions that were not asked.
    """
    path = file_of(path)
    record, folder = read_record(path), path.parent
    if record.origin != "model":
        how = "give the record that they lie beside" if record.origin == "kept" else "score their folder again"
        raise RecordError(f"{path} was not made by asking a model, but from answers that had been made before; {how}.")
    manifest = read_manifest(folder)
    if manifest.hash != record.kept_answers:
        raise RecordError(
            f"The answers in {folder} are not those that its record was made from; restore them, or evaluate the model "
            "again with --keep-answers."
        )
    exam = with_questions_of(
        record, exam_of(record, data_dir, device=device, dataset=dataset, suite=suite, metrics=metrics), folder
    )
    if exam.fingerprints["test"] != manifest.pixels:
        raise RecordError(
            f"{folder} holds answers about other images than {exam.dataset.card.name}/{exam.dataset.source} has here; give the data that "
            "the model was asked about."
        )
    _require_asked(exam, manifest, folder)
    card = exam.dataset.card
    answers = KeptAnswers(folder, manifest, exam.plan, variables=exam.dataset.variables, image=card.image)
    answers.require_whole()
    contestant = _contestant(record, answers, manifest)
    judging = {metric.name for metric in exam.make_metrics(contestant)}
    if not judging:
        raise ConfigError(f"{', '.join(exam.metrics)} watches a model at work; kept answers tell nothing new of it.")
    return Rejudging(exam, contestant, _before(record, path, exam, exam.metrics.keys() - judging))


def with_questions_of(record: Record, exam: Exam, folder: Path) -> Exam:
    """The exam with the very questions of the record: where they came from a file or another suite, those written beside it."""
    if exam.plan.hash == record.inputs.plan:
        return exam
    plan = plans.load(folder / PLAN, exam.dataset)
    if plan.hash != record.inputs.plan:
        raise RecordError(f"{folder / PLAN} holds other questions than its record was made with; restore it.")
    return replace(exam, plan=plan)


def _require_asked(exam: Exam, manifest: Manifest, folder: Path) -> None:
    """Raise ConfigError for a metric that judges a kind of question that nobody asked."""
    there = {question.kind for question in exam.plan.questions}
    for metric in exam.make_metrics():
        lacking = sorted((kinds_asked([metric]) & there) - set(manifest.kinds))
        if lacking:
            raise ConfigError(
                f"{metric.name} judges answers to {' and '.join(lacking)} questions, and {folder} holds those to {', '.join(manifest.kinds)}; "
                "leave it out, or evaluate the model again with --keep-answers."
            )


def _before(record: Record, path: Path, exam: Exam, metrics: Collection[str]) -> AskedBefore:
    """Scores of metrics that watch a model at work, and what came of asking it again."""
    cells = {cell.key_of(metric.name): cell for metric in exam.make_metrics() for cell in metric.cells}
    # Numbers of a model's own noise cannot be listed without it.
    columns = columns_of(path, record, metrics, cell_of=lambda number: cells.get(number.key) or declared_cell(number))
    return AskedBefore(columns, [flag for flag in record.flags if flag.startswith(FOUND_BY_ASKING)])


def _contestant(record: Record, answers: KeptAnswers, manifest: Manifest) -> Contestant:
    inputs = record.inputs
    return Contestant(
        inputs.model,
        answers,
        title=record.title,
        recipe=inputs.recipe,
        weights_sha256=inputs.weights_sha256,
        parameters=record.parameters,
        pixel_temperature=record.pixel_temperature,
        pixel_noise=record.pixel_noise,
        exact=record.exact,
        training=record.training,
        called=record.name,
        notes=(*manifest.notes, _NOTE),
        kept=manifest.hash,
    )
