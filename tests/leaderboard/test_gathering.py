"""Which records make one row of a board."""

import hashlib
import os
import shutil

import numpy as np
import pytest

from counterbench import evaluation, leaderboard
from counterbench.evaluation import results_folder
from counterbench.leaderboard.gathering import gather
from counterbench.models.model import Contestant
from counterbench.records.record import read_record, write_record

METRICS = ("composition", "effectiveness", "truth")


def save(toy, home, name, metrics, keep=0.9, **more):
    class Blurred:
        def counterfactual(self, factual, interventions, generator=None):
            return toy.exact_scm(keep=keep).counterfactual(factual, interventions, generator)

    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=list(metrics), **more)
    weights = hashlib.sha256(str(keep).encode()).hexdigest()
    done = evaluation.evaluate(
        Contestant(name, Blurred(), title=name, recipe={"name": name}, weights_sha256=weights, pixel_noise="none"), exam
    )
    folder = home / f"{name}-{'-'.join(metrics)}-{keep}-{more.get('limit')}"
    results_folder.save(done, folder)
    return folder / "record.json"


def read(*paths):
    return [(path, read_record(path)) for path in paths]


@pytest.fixture(scope="module")
def home(toy, tmp_path_factory):
    return tmp_path_factory.mktemp("gathered")


@pytest.fixture(scope="module")
def single(toy, home):
    """One model, asked for one metric at a time."""
    return [save(toy, home, "mine", [name]) for name in METRICS]


@pytest.fixture(scope="module")
def whole(toy, home):
    """The same with all at once, and another model."""
    return [save(toy, home, name, METRICS, keep) for name, keep in (("mine", 0.9), ("other", 0.5))]


def test_runs_of_single_metrics_are_the_row_of_one_run_of_all(single, whole):
    (row,), notes = gather(read(*single))
    expected = read_record(whole[0])
    assert row.record.by_key.keys() == expected.by_key.keys()
    for number in expected.numbers:
        if number.metric in METRICS:
            assert row.record.by_key[number.key].value == pytest.approx(number.value, rel=1e-6)
    assert row.record.row_skill == expected.row_skill
    assert set(row.record.inputs.metrics) == set(METRICS)
    assert not set(METRICS) & set(row.record.skipped)
    assert notes == ["mine is one row of 3 runs of the same exam with other metrics"]


def test_such_a_row_has_the_ranks_of_one_run(single, whole):
    (apart,) = leaderboard.build([*single, whole[1]], resamples=300)
    (at_once,) = leaderboard.build(whole, resamples=300)
    ranks = [
        {row.name: {k: v for k, v in row.ranks.items() if k[0] in METRICS} for row in board.rows}
        for board in (apart, at_once)
    ]
    assert ranks[0] == ranks[1]
    assert ranks[0]["mine"]
    assert [line.name for line in apart.lines] == [line.name for line in at_once.lines]


def test_scores_that_are_not_a_parts_own_cost_the_row_its_rank(single, whole, tmp_path):
    copies = []
    for path in single:
        shutil.copytree(path.parent, tmp_path / path.parent.name)
        copies.append(tmp_path / path.parent.name / "record.json")
    record = read_record(copies[0])
    numbers = [
        n.model_copy(update={"value": n.value + 0.01, "low": None, "high": None}) if n.kind == "mean" else n
        for n in record.numbers
    ]
    write_record(record.model_copy(update={"numbers": numbers}), copies[0])
    (board,) = leaderboard.build([*copies, whole[1]], resamples=300)
    mine = next(row for row in board.rows if row.name == "mine")
    assert not mine.ranks
    assert any("mine has no rank: The scores beside" in note for note in board.notes)


def test_a_model_that_was_trained_again_has_its_latest_record(toy, whole, home):
    again = save(toy, home, "mine", METRICS, 0.95)
    now = whole[0].stat().st_mtime
    for latest, times in ((again, (now, now + 10)), (whole[0], (now + 10, now))):
        for path, time in zip((whole[0], again), times, strict=True):
            os.utime(path, (time, time))
        (row,), notes = gather(read(whole[0], again))
        assert row.path == latest
        assert len(notes) == 1
        assert notes[0].startswith("another record of mine is left out")


def test_all_images_count_more_than_the_latest(toy, whole, home):
    part = save(toy, home, "mine", METRICS, limit=20)
    os.utime(part, (whole[0].stat().st_mtime + 100,) * 2)
    (row,), _ = gather(read(part, whole[0]))
    assert row.path == whole[0]


def test_two_trainings_of_a_recipe_are_two_rows_that_say_their_seeds(whole, tmp_path):
    paths = []
    for seed in (3, 4):
        shutil.copytree(whole[0].parent, tmp_path / str(seed))
        record = read_record(whole[0])
        inputs = record.inputs.model_copy(update={"weights_sha256": str(seed) * 64})
        path = tmp_path / str(seed) / "record.json"
        write_record(record.model_copy(update={"inputs": inputs, "training": {"seed": seed}}), path)
        paths.append(path)
    (board,) = leaderboard.build(paths, resamples=300)
    assert {row.name for row in board.rows} == {"mine-seed3", "mine-seed4"}


def test_a_name_that_was_given_stands_on_the_board(whole, tmp_path):
    shutil.copytree(whole[0].parent, tmp_path / "a")
    record = read_record(whole[0])
    renamed = results_folder.renamed(record, "ours, 20 epochs", tmp_path / "a")
    assert read_record(tmp_path / "a" / "record.json") == renamed
    assert renamed.inputs == record.inputs
    (board,) = leaderboard.build([tmp_path / "a" / "record.json", whole[1]], resamples=300)
    assert {row.name for row in board.rows} == {"ours, 20 epochs", "other"}
    assert np.isfinite([row.skill.value for row in board.rows]).all()


def changed(path, home, **update):
    """A copy of a record beside its scores, with other inputs."""
    shutil.copytree(path.parent, home)
    record = read_record(path)
    inputs = record.inputs.model_copy(update=update)
    write_record(record.model_copy(update={"inputs": inputs}), home / "record.json")
    return home / "record.json"


def test_two_functions_of_one_name_are_two_rows(whole, tmp_path):
    paths = [changed(whole[0], tmp_path / str(number), recipe={}, weights_sha256=str(number) * 64) for number in (1, 2)]
    rows, notes = gather(read(*paths))
    assert len(rows) == 2
    assert notes == []


def test_other_judges_or_options_are_not_mixed_into_a_row(single, tmp_path):
    judged = changed(single[1], tmp_path / "judged", judges={"a": ["another"]})
    os.utime(judged, (1, 1))
    (row,), _ = gather(read(single[0], judged))
    assert row.path == single[0]
    assert len(row.parts) == 1
    record = read_record(single[1])
    options = {
        **read_record(single[0]).inputs.metrics,
        **{name: {"curve": True} for name in ("composition", "effectiveness")},
    }
    other = changed(single[1], tmp_path / "options", metrics=options)
    os.utime(other, (1, 1))
    (row,), _ = gather(read(single[0], other))
    assert len(row.parts) == 1
    assert record.inputs.metrics.keys() == {"effectiveness"}


def test_the_exam_that_others_took_counts_before_the_latest(whole, tmp_path):
    later = changed(whole[0], tmp_path / "later", plan="0" * 64)
    os.utime(later, (whole[0].stat().st_mtime + 100,) * 2)
    rows, _ = gather(read(*whole, later))
    assert {row.path for row in rows} == set(whole)
    rows, _ = gather(read(whole[0], later))
    assert [row.path for row in rows] == [later]


def test_subgroups_of_every_part_stay(single):
    from counterbench.records.subgroups import Subgroups

    listed = read(*single)
    divided = Subgroups(by="c", names=["0"], images=[120], clusters=[60], row_skill=None, numbers=[])
    smallest = min(range(3), key=lambda number: len(listed[number][1].numbers))
    path, record = listed[smallest]
    listed[smallest] = (path, record.model_copy(update={"subgroups": [divided]}))
    (row,), _ = gather(listed)
    assert row.record.subgroups == [divided]


def test_looking_at_a_record_makes_it_no_later(whole, tmp_path):
    shutil.copytree(whole[0].parent, tmp_path / "a")
    path = tmp_path / "a" / "record.json"
    os.utime(path, (5, 5))
    results_folder.renamed(read_record(path), "ours", tmp_path / "a")
    assert read_record(path).name == "ours"
    assert path.stat().st_mtime == 5
