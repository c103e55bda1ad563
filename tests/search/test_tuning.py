"""The whole of a search on the toy: trained, asked, tried again, written down."""

import json

import pytest
import yaml
from click.testing import CliRunner

from counterbench import datasets
from counterbench.catalog.recipes import AdaptEntry, read_recipe
from counterbench.catalog.studies import Study, find_study, study_paths
from counterbench.cli import main
from counterbench.search import tuning
from counterbench.search.space import Way
from counterbench.search.trials import Laboratory
from counterbench.training import recipes
from counterbench.training.hardware import Hardware

pytest.importorskip("optuna")

SUITE = {
    "name": "small",
    "title": "Small",
    "cycles": 1,
    "samples": True,
    "metrics": {"effectiveness": {}, "generation": {"spaces": ["pixel"]}},
}


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def base(toy, dataset, tmp_path_factory):
    return recipes.train(
        toy.small_recipe(), dataset, output=tmp_path_factory.mktemp("base") / "m", hardware=Hardware("cpu")
    )


@pytest.fixture
def written(base, dataset, tmp_path, monkeypatch):
    """A study in a file; the toy is found by its name."""
    monkeypatch.setattr(datasets, "load", lambda *_, **__: dataset)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SUITE))

    def write(**changes):
        content = {
            "name": "toy-study",
            "model": str(base),
            "dataset": "toy",
            "where": {"c": ["one"]},
            "limit": 20,
            "space": {"kinds": ["bias", "full"], "masks": True, "learning_rate": [0.01, 0.01]},
            "steps": 2,
            "suite": str(tmp_path / "small.yaml"),
            "asked": 20,
            "objectives": ["effectiveness.skill", "generation.copied", "opened"],
            "trials": 3,
            "population": 2,
            "random": 1,
            "beside": ["full"],
            "fresh_seeds": [5],
            **changes,
        }
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def test_a_search_is_made_and_its_front_is_trained_again(written, dataset, tmp_path, monkeypatch):
    told = []
    study = find_study(str(written()))
    report = tuning.tune(study, tmp_path / "out", tell=told.append)
    assert report.directions == ["higher", "lower", "lower"]
    assert [len(report.groups[name]) for name in ("search", "random", "beside")] == [3, 1, 1]
    assert all(one.opened > 0 for one in report.groups["search"])
    assert report.groups["search"][0].seconds > 0
    assert report.start.opened == 0
    won = [name for names in report.fronts.values() for name in names]
    assert report.again.keys() == set(won)
    assert all(one.seed == 5 for several in report.again.values() for one in several)
    assert len(told) == 1 + 5 + len(won)
    one = report.groups["search"][0]
    record = Laboratory(study, tmp_path / "out").record(one.name)
    assert record.training["opened"] == one.values["opened"] == one.opened
    skills = [n.value for n in record.numbers if (n.metric, n.quantity) == ("effectiveness", "skill")]
    assert one.values["effectiveness.skill"] == pytest.approx(sum(skills) / len(skills))
    assert record.inputs.metrics["generation"]["seen"]["which"].startswith(
        record.training["rows"]["train"]["which"][:3]
    )

    # Once more: nothing is done again.
    told.clear()
    again = tuning.tune(study, tmp_path / "out", tell=told.append)
    assert told == []
    assert again == report

    # What won is a recipe that can be trained; with the same seed it is the same model.
    (path, *_) = tuning.write_front(report, tmp_path / "out", Laboratory(study, tmp_path / "out"))
    recipe = read_recipe(path)
    assert recipe.mechanisms["image"].stages[0].adapt.within
    made = recipes.train(recipe, dataset, output=tmp_path / "made", hardware=Hardware("cpu"), seed=study.seed)
    first = tmp_path / "out" / "trials" / report.fronts["search"][0] / "model"
    hashes = [json.loads((folder / "manifest.json").read_text())["weights_sha256"] for folder in (made, first)]
    assert hashes[0] == hashes[1]


def test_what_was_tried_before_is_not_trained_again(written, tmp_path, monkeypatch):
    laboratory = Laboratory(find_study(str(written())), tmp_path / "out")
    way = Way(AdaptEntry(kind="full"), 0.01)
    first = laboratory.run(way, "search-0000", 0)
    assert first.seconds > 0
    monkeypatch.setattr(laboratory, "_trained", lambda way, name, seed: pytest.fail("trained again"))
    again = laboratory.run(way, "search-0001", 0)
    assert (again.values, again.opened, again.seconds) == (first.values, first.opened, 0.0)
    assert laboratory.record("search-0001") == laboratory.record("search-0000")
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        laboratory.run(way, "search-0002", 1)


def test_the_command_prints_a_table_and_leaves_recipes_and_a_picture(written, tmp_path):
    path = written(fresh_seeds=[], trials=2, random=0)
    result = CliRunner().invoke(main, ["tune", str(path), "--output", str(tmp_path / "out"), "-q"])
    assert result.exit_code == 0, result.output
    assert "| trial | what | numbers | effectiveness.skill |" in result.stdout
    assert "as-it-is" in result.stdout
    assert "Seconds: search" in result.stdout
    out = tmp_path / "out"
    assert (out / "front.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((out / "report.json").read_text())["directions"]["opened"] == "lower"
    assert list((out / "front").glob("search-*.yaml"))
    more = CliRunner().invoke(main, ["tune", str(path), "--output", str(out), "--trials", "3", "-q"])
    assert more.exit_code == 0, more.output
    assert "the search (3 trials)" in more.stdout
    other = CliRunner().invoke(main, ["tune", str(written(steps=3)), "--output", str(out), "-q"])
    assert other.exit_code != 0
    assert "holds trials of another study (its steps is 2)" in other.output


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"objectives": ["effectiveness.skil"]}, "Did you mean|gives no number 'effectiveness.skil'"),
        ({"space": {"kinds": ["norm_biass"], "learning_rate": [0.1, 0.1]}}, "norm_biass"),
        ({"space": {"kinds": ["bias"], "learning_rate": [0.1, 0.1], "drop_loudest": [0.1]}}, "'matching'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(change, why, written, tmp_path):
    study = find_study(str(written(**change)))
    with pytest.raises(Exception, match=why) as raised:
        tuning.tune(study, tmp_path / "out")
    assert type(raised.value).__module__ == "counterbench.errors"
    assert not list((tmp_path / "out" / "trials").glob("search*"))


def test_a_training_that_fails_is_a_trial_without_numbers(written, tmp_path):
    study = find_study(
        str(written(space={"kinds": ["full"], "learning_rate": [1e30, 1e30]}, beside=[], random=0, trials=1))
    )
    report = tuning.tune(study, tmp_path / "out")
    assert "smaller learning rate" in report.groups["search"][0].why
    assert report.fronts["search"] == []


def test_studies_of_the_catalogue_can_be_read():
    assert study_paths()
    for name in study_paths():
        assert isinstance(find_study(name), Study)
    with pytest.raises(Exception, match="study"):
        find_study("no-such-study")


def test_a_kind_that_finds_nothing_inside_its_mask_is_a_failed_trial(written, tmp_path, monkeypatch):
    """And what failed does not stop the others, nor the next run."""
    from counterbench.search import tuning as module

    study = find_study(str(written(space={"kinds": ["bias"], "masks": True, "learning_rate": [0.01, 0.01]}, trials=2)))
    first = module.chosen

    def nowhere(trial, space, blocks):
        way = first(trial, space, blocks)
        if getattr(trial, "number", 1) == 0:
            return way.__class__(way.adapt.model_copy(update={"within": ("no-such-block",)}), way.learning_rate)
        return way

    monkeypatch.setattr(module, "chosen", nowhere)
    report = tuning.tune(study, tmp_path / "out")
    assert "no-such-block" in report.groups["search"][0].why
    assert report.groups["search"][1].values


def test_what_stands_beside_may_not_change_its_place(written, tmp_path):
    small = {"trials": 1, "random": 0, "fresh_seeds": []}
    tuning.tune(find_study(str(written(**small, beside=["full"]))), tmp_path / "out")
    with pytest.raises(Exception, match="holds beside-0000 of another study"):
        tuning.tune(find_study(str(written(**small, beside=["bias", "full"]))), tmp_path / "out")


def test_processes_that_start_together_share_the_trials_and_all_of_them_report(written, tmp_path, monkeypatch):
    import threading

    study = find_study(str(written(trials=2, random=0, fresh_seeds=[])))
    told, reports = [], []
    workers = [
        threading.Thread(target=lambda: reports.append(tuning.tune(study, tmp_path / "out", tell=told.append)))
        for _ in range(2)
    ]
    for one in workers:
        one.start()
    for one in workers:
        one.join(120)
    assert len(reports) == 2
    assert reports[0] == reports[1]
    made = [line.partition(":")[0] for line in told]
    assert len(made) == len(set(made))


def test_numbers_without_a_mean_in_common_are_no_objective(written, tmp_path):
    study = find_study(str(written(objectives=["generation.absolute_error"])))
    with pytest.raises(Exception, match="no mean in common; add one of a, b"):
        tuning.tune(study, tmp_path / "out")
