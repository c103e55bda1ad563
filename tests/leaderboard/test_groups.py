"""Several trainings of one recipe as one row."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from counterbench import evaluation
from counterbench.cli import main
from counterbench.errors import RecordError
from counterbench.evaluation import results_folder
from counterbench.evaluation.kept_answers import Keeping
from counterbench.leaderboard import board, comparison, groups, scored
from counterbench.models.model import Contestant
from counterbench.records import totals
from counterbench.records.record import read_record

METRICS = ["composition", "effectiveness", "truth"]
KEEPS = {0: 0.9, 1: 0.85, 2: 0.7}
"""Training seed -> share of the noise that this training keeps."""


def trained(toy, seed, **changes):
    class Model:
        scm = toy.exact_scm(keep=KEEPS[seed])

        def counterfactual(self, factual, interventions, generator=None):
            return self.scm.counterfactual(factual, interventions, generator)

    fields = {
        "recipe": {"name": "recipe"},
        "weights_sha256": f"{seed:064x}",
        "training": {"seed": seed, "source": "formula"},
        "pixel_noise": "none",
    }
    return Contestant("toy-model", Model(), **{**fields, **changes})


@pytest.fixture(scope="module")
def folders(toy, tmp_path_factory):
    home = tmp_path_factory.mktemp("trainings")
    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=METRICS)
    for name, contestant in {
        **{str(seed): trained(toy, seed) for seed in KEEPS},
        "rival": Contestant("rival", trained(toy, 2).model, pixel_noise="none"),
        "other": trained(toy, 1, recipe={"name": "other"}),
        "twin": trained(toy, 1, training={"seed": 0}),
    }.items():
        keeping = Keeping(home / name, image="image")
        results_folder.save(evaluation.evaluate(contestant, exam, keeping=keeping), home / name)
    return home


@pytest.fixture(scope="module")
def made(folders):
    return groups.group([folders / str(seed) for seed in KEEPS])


def test_values_are_means_and_intervals_are_wider(folders, made):
    record, scores = made
    each = [read_record(folders / str(seed) / "record.json") for seed in KEEPS]
    assert record.seeds == [0, 1, 2]
    assert record.inputs.model == "recipe"
    assert [one.record for one in record.group] == [one.inputs.hash for one in each]
    wider = 0
    for number in record.numbers:
        values = [one.by_key[number.key].value for one in each]
        if number.kind in ("mean", "skill"):  # every training has the same denominators
            assert number.value == pytest.approx(np.mean(values), abs=1e-5)
            assert number.low is None or number.low <= number.value <= number.high
            apart = np.std(values, ddof=1) / np.sqrt(3)
            if (
                number.metric != "effectiveness"
                and apart > 0.05 * abs(number.value)
                and None not in (number.low, each[0].by_key[number.key].low)
            ):
                wider += 1
                own = each[0].by_key[number.key]
                assert number.high - number.low > own.high - own.low
    assert wider > 5
    assert record.row_skill.low < record.row_skill.value < record.row_skill.high
    skills = [one.row_skill.value for one in each]
    assert min(skills) < record.row_skill.value < max(skills)
    assert record.row_skill.high - record.row_skill.low > 2 * (each[0].row_skill.high - each[0].row_skill.low)
    assert next(iter(scores.numbers.values())).seeds[0].shape == (3, 1)


def test_a_group_is_stored_compared_and_one_row_of_a_board(folders, made, tmp_path):
    record, scores = made
    results_folder.save_group(record, scores, tmp_path)
    again = totals.read(tmp_path / "record.json", merge=True)
    for key, ratios in scores.numbers.items():
        assert np.allclose(again.numbers[key].seeds[0], ratios.seeds[0])
    entries = scored.load([tmp_path, folders / "rival"])
    compared = comparison.compare(entries, resamples=500)
    assert all(np.isnan(one.p_wilcoxon) for one in compared.differences)
    paths = [tmp_path / "record.json", *(folders / name / "record.json" for name in ("0", "1", "2", "rival"))]
    (found,) = board.build(paths, resamples=500)
    assert [row.name for row in found.rows if row.record.group] == ["recipe"]
    assert {row.name for row in found.rows} == {"recipe", "rival"}
    row = next(row for row in found.rows if row.record.group)
    assert "3 trainings (seeds 0, 1, 2)" in row.marks
    assert row.place is not None
    assert any("one row" in note for note in found.notes)


def test_boards_say_when_one_training_is_all_there_is(folders):
    (found,) = board.build([folders / name / "record.json" for name in ("1", "rival")], resamples=200)
    assert any("toy-model is one training" in note for note in found.notes)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["0"], "at least two"),
        (["0", "other"], "'recipe' differs"),
        (["0", "0"], "a different one of each"),
        (["0", "twin"], "a different one of each"),
        (["0", "rival"], "without a training seed"),
    ],
)
def test_what_is_no_group(folders, names, words):
    with pytest.raises(RecordError, match=words):
        groups.group([folders / name for name in names])


def test_the_command_also_says_how_far_trainings_are_apart(folders, tmp_path, toy, monkeypatch):
    """The answers are those of the toy; their disagreement is that of the images."""
    monkeypatch.setattr(
        "counterbench.evaluation.exam_of_record.datasets.load", lambda *_, **__: toy.Toy(), raising=False
    )
    given = [str(folders / str(seed)) for seed in KEEPS]
    result = CliRunner().invoke(main, ["group", *given, "--output", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    told = {n["intervened"]: n for n in record["numbers"] if n["metric"] == "identifiability"}
    assert set(told) == {"a", "b", "c"}
    assert all(
        0 < number["value"] < 1 and number["low"] <= number["value"] <= number["high"] for number in told.values()
    )
    (folder,) = tmp_path.glob("*/*/*")
    assert CliRunner().invoke(main, ["validate", str(folder)]).exit_code == 0
    asked = CliRunner().invoke(main, ["verify", str(folder)])
    assert asked.exit_code == 1
    assert "Verify the records of its trainings" in asked.stderr
    again = CliRunner().invoke(main, ["group", str(folder), given[0]])
    assert again.exit_code == 1
    assert "is a group itself" in again.stderr
