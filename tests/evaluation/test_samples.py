"""New individuals: what is asked, who is shown what, and what comes out."""

import csv

import asked
import numpy as np
import pytest
import torch

from counterbench import evaluation, plans
from counterbench.catalog.suites import find_suite
from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.errors import DataError, ModelError
from counterbench.exchange import questions
from counterbench.exchange.scoring import ready
from counterbench.models.baselines import Identity, Resample
from counterbench.models.model import Contestant
from counterbench.records.plausibility import problems

pytestmark = pytest.mark.usefixtures("unshaken")


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def suite():
    return find_suite("quick").model_copy(update={"samples": True, "metrics": {"generation": {"spaces": ["pixel"]}}})


class Drawer:
    """The toy's own model, which remembers what it was shown."""

    def __init__(self, toy):
        self.scm, self.shown = toy.exact_scm(), []

    def counterfactual(self, factual, interventions, generator=None):
        return self.scm.counterfactual(factual, interventions, generator)

    def draw(self, attributes, generator=None):
        self.shown.append(attributes)
        return self.scm.draw(attributes, generator)


def evaluated(dataset, suite, model, metrics=("generation",), **options):
    exam = evaluation.prepare(dataset, suite, device="cpu", metrics=list(metrics), limit=40)
    return evaluation.evaluate(Contestant("m", model), exam, **options).record


def of(record):
    return {(n.quantity, n.measured): n for n in record.numbers if n.metric == "generation"}


def test_a_plan_asks_for_each_row_once_and_draws_no_chance(dataset, suite):
    plan, plain = plans.draw(dataset, suite, 3), plans.draw(dataset, find_suite("quick"), 3)
    assert plan.counts["sample"] == len(plan.index)
    assert plan.hash != plain.hash
    lines = list(plan.lines())
    assert lines[: len(plain)] == list(plain.lines())
    assert {line.kind for line in lines[len(plain) :]} == {"sample"}
    question = plan.questions[-1]
    assert (question.name, question.round, question.intervened, question.cause) == ("sample", 1, (), "")
    assert question.held.keys() == set(asked.NAMES)
    few = question.at(torch.tensor([4, 2]))
    assert torch.equal(few.held["a"], dataset.attributes("test")["a"][plan.index[[4, 2]]])
    assert set(few.streams()).isdisjoint(plan.questions[0].at(torch.tensor([4, 2])).streams())


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_files_hold_them(ending, dataset, suite, tmp_path):
    plan = plans.draw(dataset, suite, 0, limit=7)
    plans.save(plan, tmp_path / f"q.{ending}")
    loaded = plans.load(tmp_path / f"q.{ending}", dataset)
    assert loaded.hash == plan.hash
    assert all(torch.equal(loaded.captions[name], plan.captions[name]) for name in asked.NAMES)


def test_a_file_that_asks_for_several_is_refused(dataset, suite, tmp_path):
    plans.save(plans.draw(dataset, suite, 0, limit=7), tmp_path / "q.csv")
    text = (tmp_path / "q.csv").read_text()
    (tmp_path / "q.csv").write_text(text.replace("sample,0,,1.0", "sample,0,,3.0"))
    with pytest.raises(DataError, match="expected 1, for one image"):
        plans.load(tmp_path / "q.csv", dataset)


def test_only_attributes_are_shown(toy, dataset, suite):
    model = Drawer(toy)
    evaluated(dataset, suite, model)
    assert model.shown
    assert all(shown.keys() == set(asked.NAMES) for shown in model.shown)
    with pytest.raises(ModelError, match="not told which rows"):
        _ = model.shown[0].index


def test_what_a_model_draws_is_judged_against_what_it_was_asked_for(toy, dataset, suite):
    record = evaluated(dataset, suite, Drawer(toy))
    numbers = of(record)
    assert numbers["accuracy", "c"].value == 1
    assert numbers["absolute_error", "a"].value < 0.3
    assert numbers["accuracy", "c"].references["identity"].value == 1
    assert not problems(record)


def test_attributes_that_were_asked_for_must_be_returned(toy, dataset, suite):
    class Stubborn(Drawer):
        def draw(self, attributes, generator=None):
            return {**super().draw(attributes, generator), "c": (attributes["c"] + 1) % 3}

    with pytest.raises(ModelError, match="do\\(c\\)"):
        evaluated(dataset, suite, Stubborn(toy))


def test_who_cannot_draw_has_no_number_and_the_reason_is_said(toy, dataset, suite):
    record = evaluated(dataset, suite, toy.ExactModel(), ["generation", "effectiveness"])
    assert record.skipped["sample"] == "m draws no new individuals"
    assert not of(record)


def test_baselines_draw_held_out_images_and_a_perfect_memory(dataset):
    rows = torch.arange(5)
    captions = {name: value[rows] for name, value in dataset.attributes("test").items()}
    given = Samples(captions, rows)
    own = Identity(dataset).draw(given)["image"]
    assert torch.equal(own, dataset.split("test").take(rows)["image"])
    remembered = Resample(dataset).draw(given, SampleNoise(0, rows.tolist()))["image"]
    train = dataset.split("train").take(slice(0, None))["image"]
    assert all(any(torch.equal(image, other.float()) for other in train) for image in remembered)
    again = Resample(dataset).draw(given, SampleNoise(0, rows.tolist()))["image"]
    assert torch.equal(again, remembered)


def test_a_memory_is_found_out_and_held_out_images_are_not(dataset, suite):
    exam = evaluation.prepare(dataset, suite, device="cpu", metrics=["generation"], limit=40)
    record = evaluation.evaluate(Contestant("resample", Resample(dataset)), exam).record
    numbers = of(record)
    assert numbers["copied", ""].value == 1
    assert numbers["copied", ""].references["identity"].value <= 0.05
    assert numbers["cosine_distance", ""].value == pytest.approx(0, abs=1e-6)
    assert numbers["mifid", ""].value > 1000 * numbers["frechet_distance", ""].value


def test_draws_hang_on_neither_batch_nor_company(toy, dataset, suite):
    first, second = (
        evaluated(dataset, suite, Drawer(toy), ["generation", "extraction"], batch_size=size) for size in (7, 40)
    )
    assert [n.value for n in first.numbers] == pytest.approx([n.value for n in second.numbers], rel=1e-5)


def test_a_model_that_gives_every_training_image_away_is_extracted(toy, dataset, suite):
    train = dataset.split("train").take(slice(0, None))

    class Memory(Drawer):
        def draw(self, attributes, generator=None):
            alike = sum((train[n][None] - attributes[n][:, None].to(train[n])).abs() for n in asked.NAMES)
            return {**attributes, "image": train["image"][alike.argmin(1)].float()}

    numbers = [
        {n.quantity: n.value for n in evaluated(dataset, suite, model(toy), ["extraction"]).numbers}
        for model in (Memory, Drawer)
    ]
    assert numbers[0]["extracted"] >= 0.9  # some training images share their attributes
    assert numbers[1]["extracted"] <= 0.1


def test_answers_from_files_get_the_same_numbers(toy, dataset, suite, tmp_path, monkeypatch):
    exam = evaluation.prepare(dataset, suite, device="cpu", metrics=["generation"], limit=8)
    direct = evaluation.evaluate(Contestant("m", Drawer(toy)), exam).record
    questions.export(exam, tmp_path / "f")
    home, scm = tmp_path / "f" / "round-1", toy.exact_scm()
    for row in csv.DictReader((home / "questions.csv").open(newline="")):
        if not row["id"].startswith("sample"):
            continue
        assert (row["image"], row["variable"]) == ("", "")
        held = {n: torch.tensor([questions.read_value(dataset.variables[n], row[n])]) for n in asked.NAMES}
        held["c"] = held["c"].long()
        drawn = scm.draw(held, SampleNoise(exam.seed, [f"sample/{row['row']}"]))
        np.save(home / "answers" / f"{row['id']}.npy", drawn["image"][0].numpy())
    monkeypatch.setattr("counterbench.datasets.load", lambda *_, **__: dataset)
    scoring = ready(tmp_path / "f", device="cpu")
    scored = evaluation.evaluate(scoring.contestant, scoring.exam).record
    assert of(scored).keys() == of(direct).keys()
    for key, number in of(scored).items():
        assert number.value == pytest.approx(of(direct)[key].value, rel=1e-4, abs=1e-4), key
