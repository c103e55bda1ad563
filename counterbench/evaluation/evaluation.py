"""evaluate(model, exam): the only place where data, models, plans, judges and metrics meet."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from counterbench import models
from counterbench.errors import ConfigError
from counterbench.evaluation import numbers
from counterbench.evaluation.asked_again import DEPENDS, depends
from counterbench.evaluation.asking import unanswered
from counterbench.evaluation.baseline_cache import load_columns, prune, save_columns, touch
from counterbench.evaluation.exam import SPLIT, Exam, prepare
from counterbench.evaluation.kept_answers import Keeping, Manifest
from counterbench.evaluation.missing import Incomplete, penalised
from counterbench.evaluation.preservation import not_shown
from counterbench.evaluation.row_skill import equal_to_truth, row_skill
from counterbench.evaluation.session import Share, batch_size_of, chunk_size, examine, size_of
from counterbench.evaluation.sharing import beside, can_be_copied, computing_with, examine_together, workers_for
from counterbench.evaluation.stored_scores import SETS, Scores, read_sets
from counterbench.evaluation.taking import REAL, SHOWN, Shown, Taking, key_of
from counterbench.metrics.answers import wrong_scale
from counterbench.metrics.base import Column, Metric
from counterbench.models import baselines
from counterbench.models.model import Contestant
from counterbench.models.reachable import evaluation_mode
from counterbench.models.untouched import Untouched
from counterbench.plans.plan import Plan
from counterbench.plans.question import names_of, words_of
from counterbench.records.record import CEILINGS, Answered, Execution, Record
from counterbench.runtime.devices import exact_convolutions
from counterbench.runtime.versions import versions
from counterbench.storage.files import cache_folder, without_folders
from counterbench.storage.tensors import write_tensors

__all__ = ["SHOWN", "SPLIT", "Evaluation", "Exam", "evaluate", "prepare"]

MODEL = "model"
SUBGROUP_REFERENCES = ("identity", "truth", REAL)
"""Whose numbers stand beside those of a model in subgroups: floor and ceilings."""


@dataclass(frozen=True)
class AskedBefore:
    """What only asking a model tells, of one whose kept answers are judged again.

    Args:
        columns: scores of metrics that watch a model at work.
        flags: what came of asking it again.
    """

    columns: Sequence[Column] = ()
    flags: Sequence[str] = ()


@dataclass(frozen=True)
class Evaluation:
    """A record with what is behind it.

    Args:
        record: the numbers.
        columns: values per sample.
        group: (N,), cluster of each row of the test split.
        sets: "metric/state" -> what numbers of whole sets come from.
        plan: the questions.
        shown: what is set -> the first answers, as they were judged.
        kept: all answers and their list; None where they were not kept.
    """

    record: Record
    columns: list[Column]
    group: Tensor
    sets: dict[str, Tensor]
    plan: Plan
    shown: dict[str, Shown]
    kept: tuple[Keeping, Manifest] | None = None


def evaluate(
    contestant: Contestant,
    exam: Exam,
    *,
    batch_size: int | None = None,
    folder: Path | None = None,
    keeping: Keeping | None = None,
    before: AskedBefore | None = None,
    workers: int | None = 1,
    threads: int = 1,
) -> Evaluation:
    """Ask one model all questions, beside the baselines, and judge the answers; then ask it about a few samples again.

    Args:
        contestant: the model.
        exam: the questions and the judges.
        batch_size: how many samples at a time, None to choose; changes the speed, and the last digits of what a network answers.
        folder: where finished chunks are kept until the end, so that an interrupted run goes on; None for memory only.
        keeping: keeps all answers, so that they can be judged again; None to forget them.
        before: of answers that are judged again, what only asking could tell.
        workers: processes that share the chunks; None for one per processor, where that pays. The numbers are the same to the last bit.
        threads: of each process; changes a network's answers in their last digits.

    Raises:
        ModelError: for an answer that is none. ConfigError: if the model answers none of the questions.
    """
    started = time.perf_counter()
    before, execution = before or AskedBefore(), _execution(exam, batch_size, threads)
    taking = _taking(exam, contestant, execution, folder=folder, keeping=keeping)
    known, waiting = _references(exam)
    with evaluation_mode(contestant.model) as switched, exact_convolutions(), computing_with(threads):
        untouched = None if contestant.looked_up else Untouched(contestant.model, code=contestant.code)
        if keeping is not None and keeping.folder is None:
            workers = 1  # other processes could not leave the answers anywhere
        takings = [taking, *waiting]
        with nullcontext() if workers == 1 else _stored(taking):
            workers = workers_for(exam, takings, batch_size=batch_size) if workers is None else workers
            seconds = examine_together(exam, takings, workers=workers, threads=threads, batch_size=batch_size)
        apart = workers > 1 and can_be_copied(exam, threads)
        judged, begun = taking.judged(), time.perf_counter()
        with beside(lambda: _doubts(contestant, untouched, exam, judged), apart=apart) as doubts:
            columns = _columns(exam, taking, known, waiting, before)
            seconds["metrics"] = time.perf_counter() - begun
            flags = [*doubts(), *before.flags]
    group = exam.dataset.split(SPLIT).group
    with computing_with(1):
        record = _record(exam, taking, columns, group, {**seconds, "start": started}, switched, flags)
        record = record.model_copy(update={"execution": execution})
    kept = None
    if keeping is not None:
        notes = [*contestant.notes, *_oddities(taking, switched)]
        kept = keeping, keeping.manifest(exam, contestant, notes=notes)
        record = record.model_copy(update={"kept_answers": kept[1].hash})
    return Evaluation(record, columns[MODEL], group, taking.sets(), exam.plan, taking.shown(), kept)


def _doubts(
    contestant: Contestant, untouched: Untouched | None, exam: Exam, judged: Mapping[str, Mapping[str, Tensor]]
) -> list[str]:
    """What asking the model again shows, as flags of its record."""
    return [DEPENDS] if depends(contestant, exam, judged) else not_shown(contestant, untouched, exam, judged)


def _columns(
    exam: Exam, taking: Taking, known: Mapping[str, list[Column]], waiting: Sequence[Taking], before: AskedBefore
) -> dict[str, list[Column]]:
    """Scores of the model, of the baselines and of real images, in one order, whatever was known before.

    Raises:
        ConfigError: if the model answers none of the questions.
    """
    with computing_with(1):
        columns = {MODEL: _in_order(exam, [*_with_failures(taking), *before.columns])}
        if not columns[MODEL]:
            raise ConfigError(f"{taking.name} answered no question that {', '.join(exam.metrics)} could judge.")
        fresh = {reference.name: reference for reference in waiting}
        for name in (*baselines.available(exam.dataset.card, exam.dataset.behind), REAL):
            columns[name] = known[name] if name in known else _kept(fresh[name])
    return columns


def examine_share(
    contestant: Contestant,
    exam: Exam,
    share: Share,
    *,
    folder: Path,
    batch_size: int | None = None,
    keeping: Keeping | None = None,
    threads: int = 1,
) -> None:
    """Examine some of the chunks and leave them in the folder, and those of the baselines in the cache, for :func:`evaluate` to collect.

    Args:
        contestant: the model.
        exam: the questions and the judges.
        share: which chunks.
        folder: where finished chunks are kept.
        batch_size, keeping, threads: as of :func:`evaluate`, which takes only chunks that were made with the same ones.

    Raises:
        ModelError: for an answer that is none. ConfigError: if the model answers none of the questions.
    """
    taking = _taking(exam, contestant, _execution(exam, batch_size, threads), folder=folder, keeping=keeping)
    _, waiting = _references(exam)
    with evaluation_mode(contestant.model), exact_convolutions(), computing_with(threads):
        examine(exam, [taking, *waiting], batch_size=batch_size, share=share)


def _execution(exam: Exam, batch_size: int | None, threads: int) -> Execution:
    batch = batch_size or batch_size_of(exam)
    return Execution(threads=threads, batch=batch, chunk=chunk_size(batch, pixels=size_of(exam)))


def _taking(
    exam: Exam, contestant: Contestant, execution: Execution, *, folder: Path | None, keeping: Keeping | None
) -> Taking:
    """The model before it is asked; chunks of another execution are other chunks.

    Raises:
        ConfigError: if none of its answers can be judged.
    """
    key = f"{key_of(exam, contestant)} {execution.model_dump_json()}"
    taking = Taking(contestant.name, contestant, exam.make_metrics(contestant), folder, key, keeping=keeping)
    if not any(metric.cells for metric in taking.metrics):
        reasons = "; ".join(f"{what}: {why}" for what, why in _unavailable(taking).items())
        raise ConfigError(f"Nothing can be computed. {reasons}.")
    return taking


@contextmanager
def _stored(taking: Taking) -> Iterator[None]:
    """Chunks lie in a folder inside the block, where several processes can leave them."""
    if taking.folder is not None:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        taking.folder = Path(folder)
        yield
    taking.folder = None


def _in_order(exam: Exam, columns: Sequence[Column]) -> list[Column]:
    """Columns in the order of the exam's metrics."""
    order = list(exam.metrics)
    return sorted(columns, key=lambda column: order.index(column.metric))


def _with_failures(taking: Taking) -> list[Column]:
    """The model's columns; questions that it left unanswered score the worst there is."""
    assert taking.contestant is not None
    columns, model = taking.columns(), taking.contestant.model
    if not isinstance(model, Incomplete):
        return columns
    metrics = {metric.name: metric for metric in taking.metrics}
    return [penalised(column, model.failed(metrics[column.metric].questions_behind(column.cell))) for column in columns]


def _references(exam: Exam) -> tuple[dict[str, list[Column]], list[Taking]]:
    """What baselines and real images score: (those that were examined before, those that have to be)."""
    known: dict[str, list[Column]] = {}
    waiting = []
    for name in (*baselines.available(exam.dataset.card, exam.dataset.behind), REAL):
        contestant, key, folder = _reference(exam, name)
        columns = load_columns(folder / _COLUMNS)
        if columns is not None:
            known[name] = columns
            touch(folder)
            continue
        metrics: list[Metric] = exam.make_metrics(contestant)
        if contestant is None:
            metrics = [metric for metric in metrics if metric.judges_real]
        waiting.append(Taking(name, contestant, metrics, folder if touch(folder) else None, key, optional=True))
    return known, waiting


def _reference(exam: Exam, name: str) -> tuple[Contestant | None, str, Path]:
    """(a baseline, or None for real images, hash of what decides its scores, where they are kept)."""
    contestant = None
    if name in baselines.BASELINES:
        model = baselines.BASELINES[name](exam.dataset, references=exam.suite.references)
        contestant = Contestant(name, model, pixel_noise="none")
    key = key_of(exam, contestant)
    return contestant, key, cache_folder() / "baselines" / key[:32]


def known_references(exam: Exam, names: Sequence[str]) -> dict[str, Scores]:
    """Scores of those of some baselines and real images that were examined before, with what their numbers of whole sets come from.

    Args:
        exam: the questions.
        names: of baselines, or `real`.
    """
    there = (*baselines.available(exam.dataset.card, exam.dataset.behind), REAL)
    folders = {name: _reference(exam, name)[2] for name in names if name in there}
    found = {name: (load_columns(folder / _COLUMNS), read_sets(folder)) for name, folder in folders.items()}
    return {name: Scores(columns, sets) for name, (columns, sets) in found.items() if columns is not None}


_COLUMNS = "columns.safetensors"


def _kept(reference: Taking) -> list[Column]:
    """What a baseline scored, kept for the next model; its chunks are not needed any more."""
    columns = reference.columns()
    if reference.folder is None:
        return columns
    if reference.name in SUBGROUP_REFERENCES:
        write_tensors(reference.folder / SETS, reference.sets(), optional=True)
    if save_columns(reference.folder / _COLUMNS, columns):
        for path in reference.folder.glob("chunk-*"):
            path.unlink(missing_ok=True)
        prune(reference.folder.parent)
    return columns


def _record(
    exam: Exam,
    taking: Taking,
    columns: Mapping[str, list[Column]],
    group: Tensor,
    seconds: Mapping[str, float],
    switched: bool,
    doubts: Sequence[str],
) -> Record:
    contestant = taking.contestant
    assert contestant is not None
    begun = time.perf_counter()
    asked_about = group[exam.plan.index]
    results, undefined = numbers.numbers(
        columns,
        exam.plan.index,
        asked_about,
        resamples=exam.suite.resamples,
        seed=exam.seed,
        leaked=_leaked(exam, taking),
    )
    skill = row_skill(exam, columns, group)
    spent = {name: value for name, value in seconds.items() if name != "start"}
    spent |= {"statistics": time.perf_counter() - begun, "total": time.perf_counter() - seconds["start"]}
    source = contestant.training.get("source")
    skipped = {**_unavailable(taking), **_unanswered(exam, taking, columns[MODEL]), **_untold(exam), **undefined}
    if isinstance(skill, str):
        skipped["row skill"] = skill
    notes = [*exam.dataset.notes, *_notes(exam, contestant), *_oddities(taking, switched)]
    return Record(
        title=contestant.title,
        name=contestant.called,
        origin="kept" if contestant.kept else "model" if contestant.coverage is None else "answers",
        kept_answers=contestant.kept or None,
        coverage=None if contestant.coverage is None else Answered(**contestant.coverage),
        trained_on=None if source is None else str(source),
        inputs=exam.inputs(contestant),
        images=len(exam.plan.index),
        test_images=len(group),
        questions=exam.plan.counts,
        clusters=len(asked_about.unique()),
        pixel_temperature=contestant.pixel_temperature,
        pixel_noise=contestant.pixel_noise,
        exact=contestant.exact,
        parameters=contestant.parameters,
        training=contestant.training,
        row_skill=None if isinstance(skill, str) else skill,
        numbers=results,
        skipped={what: without_folders(why) for what, why in skipped.items()},
        seconds={name: round(value, 3) for name, value in spent.items()},
        device=str(exam.device),
        versions=versions(),
        flags=[*doubts, *_flags(exam, contestant, columns[MODEL])],
        notes=[without_folders(note) for note in notes],
    )


def _leaked(exam: Exam, taking: Taking) -> set[tuple[str, object]]:
    """Numbers of judges that this model was trained against: (metric, cell)."""
    contestant = taking.contestant
    assert contestant is not None
    signals = [str(one) for one in contestant.training.get("judges_used_in_training") or []]

    def used(fingerprint: str) -> bool:
        return any(signal and signal in fingerprint for signal in signals)

    judges = {name for name, panel in exam.panels.items() if any(map(used, panel.fingerprints))}
    spaces = {name for name, space in exam.spaces.loaded.items() if used(space.fingerprint)}
    return {
        (metric.name, cell)
        for metric in taking.metrics
        for cell in metric.cells
        if cell.space in spaces or judges.intersection(metric.judges_of(cell))
    }


def _notes(exam: Exam, contestant: Contestant) -> list[str]:
    notes = list(contestant.notes)
    trained_on = contestant.training.get("source")
    if trained_on not in (None, exam.dataset.source):
        notes.append(f"trained on the source {trained_on}, evaluated on {exam.dataset.source}")
    if exam.targets.reference is not None:
        notes += [
            f"targets of {', '.join(names)} under do({words_of(names_of(cause))}) are those of the reference SCM: they assume its graph, its mechanisms, and no hidden "
            "confounders"
            for cause, names in exam.assumed.items()
        ]
    if "feed" in contestant.training and "teacher" in contestant.training["feed"]:
        notes.append(
            f"trained on what {contestant.training['feed']['teacher']} makes, not on real images; copies and links are looked for among the images behind that model. "
            "This is no differential privacy: it bounds nothing about attacks that were not tried"
        )
    if exam.plan_file:
        notes.append(f"the questions come from the file {exam.plan_file}; the seed decides the noise alone")
    return notes


def _flags(exam: Exam, contestant: Contestant, columns: Sequence[Column]) -> list[str]:
    """What a reader of a board must be warned of."""
    if not exam.dataset.card.image or contestant.name in CEILINGS:
        return []
    return [flag for flag in (equal_to_truth(columns),) if flag]


def _untold(exam: Exam) -> dict[str, str]:
    """Targets that nothing is known about, and why."""
    if exam.targets.reference is not None:
        return {}
    why = "they are factual values: there is no truth and no reference SCM; counterbench train-judges fits one"
    return {
        f"targets of {', '.join(names)} under do({words_of(names_of(cause))})": why
        for cause, names in exam.assumed.items()
    }


def _oddities(taking: Taking, switched: bool) -> list[str]:
    """Frequent mistakes that no score names: images on another scale than grey levels, or out of range; a network left in training mode."""
    assert taking.contestant is not None
    if taking.contestant.kept:
        return []  # its notes say what was seen when the model was asked
    reach, outside = taking.reach, taking.outside
    odd = "" if reach is None else wrong_scale(reach.tolist())
    clamped = (
        f"{max(outside, 1e-4):.2%} of the pixels of its answers were out of range and have been clamped to 0 or 255"
    )
    mode = "it was in training mode, where answers depend on the batch; it was asked in evaluation mode"
    return [odd] * bool(odd) + [clamped] * (outside > 0) + [mode] * switched


def _unavailable(taking: Taking) -> dict[str, str]:
    """What the metrics could not compute, and why."""
    return {what: why for metric in taking.metrics for what, why in metric.skipped.items()}


def _unanswered(exam: Exam, taking: Taking, columns: list[Column]) -> dict[str, str]:
    """What has no number, and why."""
    contestant = taking.contestant
    assert contestant is not None
    reasons = unanswered(exam, contestant)
    answered = {column.metric for column in columns}
    for name in exam.metrics.keys() - answered - {metric.name for metric in taking.metrics}:
        reasons[name] = "it watches a model at work, and the record of these answers has none of its numbers"
    for metric in taking.metrics:
        name = metric.name
        if name not in answered and not metric.skipped:
            reasons[name] = (
                f"the suite {exam.suite.name!r} on {exam.dataset.card.name!r} asks no question that {name} could judge"
                if not metric.cells
                else f"{contestant.name} answers no question that it judges, or too few"
            )
    if "truth" in answered:
        for names in (*((name,) for name in exam.plan.single), *exam.plan.joint):
            if not exam.dataset.knows_truth(names):
                reasons[f"truth of do({words_of(names)})"] = "the true counterfactual is not known"
    for pair in exam.plan.pairs:
        if any("pair" in metric.asks for metric in taking.metrics) and not models.can_answer(
            contestant.model, list(pair)
        ):
            reasons[f"do({', '.join(pair)})"] = f"{contestant.name} does not answer this question"
    return reasons
