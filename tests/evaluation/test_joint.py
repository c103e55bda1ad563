"""Two variables set at once: asked, judged and ranked like one, but for the row skill."""

import asked
import pytest
import torch

from counterbench import evaluation, plans
from counterbench.catalog.cards import Card
from counterbench.catalog.suites import find_suite
from counterbench.errors import DataError
from counterbench.exchange import questions
from counterbench.exchange.scoring import ready
from counterbench.leaderboard import ranking
from counterbench.models.model import Contestant
from counterbench.pictures.gallery import evaluation_figure
from counterbench.records.plausibility import problems
from counterbench.records.record import Record

pytestmark = pytest.mark.usefixtures("unshaken")

JOINT = asked.JOINT


class Singly:
    """Answers the truth of what is named first, and forgets the second."""

    def __init__(self, toy):
        self.exact = toy.ExactModel()

    def counterfactual(self, factual, interventions, generator=None):
        first = dict(list(interventions.items())[:1])
        return {**self.exact.counterfactual(factual, first), **interventions}


@pytest.fixture(scope="module")
def card(toy) -> Card:
    return toy.CARD.model_copy(update={"joint": JOINT})


@pytest.fixture(scope="module")
def dataset(toy, card):
    return toy.Toy(card)


def records(toy, dataset, model):
    exam = evaluation.prepare(dataset, device="cpu", metrics=["truth", "effectiveness"], limit=40)
    return evaluation.evaluate(Contestant("m", model), exam)


@pytest.fixture(scope="module")
def exact(toy, dataset):
    return records(toy, dataset, toy.ExactModel())


@pytest.fixture(scope="module")
def singly(toy, dataset):
    return records(toy, dataset, Singly(toy))


def test_values_are_those_of_the_single_questions_and_no_chance_is_drawn(toy, dataset):
    suite = find_suite("standard")
    plan, plain = plans.draw(dataset, suite, 3), plans.draw(toy.Toy(), suite, 3)
    assert plan.joint == JOINT
    assert plan.counts["joint"] == 2 * len(plan.index)
    assert len(plan) == sum(plan.counts.values()) == len(list(plan.lines()))
    lines = list(plan.lines())
    assert lines[: len(plain)] == list(plain.lines())
    assert {line.kind for line in lines[len(plain) :]} == {"joint"}
    question = next(one for one in plan.questions if one.name == "joint/a/c")
    assert question.round == 1
    assert question.intervened == question.cause == ("a", "c")
    assert all(torch.equal(question.held[name], plan.single[name]) for name in ("a", "c"))
    few = question.at(torch.tensor([4, 2]))
    assert all(torch.equal(few.held[name], plan.single[name][[4, 2]]) for name in ("a", "c"))
    assert question.streams() == next(one for one in plan.questions if one.name == "single/a").streams()


def test_a_plan_without_them_keeps_its_hash(toy):
    """Written down before there were joint questions, on two kinds of processor, whose normal draws differ in their last bits."""
    assert plans.draw(toy.Toy(), find_suite("quick"), 0).hash in HASHES


HASHES = (
    "71695820363b12c3f381c39c56e0a33d142fa5db9f7d58cc05e70bba0a51702b",
    "9173b2c35e2245b5ff07e799c2dcfdc67996303a88bab05476377972baab6a5a",
)


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_files_hold_them(ending, dataset, tmp_path):
    plan = plans.draw(dataset, find_suite("standard"), 0, limit=7)
    plans.save(plan, tmp_path / f"q.{ending}")
    loaded = plans.load(tmp_path / f"q.{ending}", dataset)
    assert (loaded.hash, loaded.joint) == (plan.hash, JOINT)


@pytest.mark.parametrize(
    ("place", "new", "why"),
    [
        (2, "c", "names 'c' twice"),
        (0, "apart", "null, single, return, pair, joint and sample"),
        (3, "0.125", "another value"),
        (1, "6", "incomplete"),
    ],
)
def test_a_file_that_does_not_hold_together_is_refused(place, new, why, dataset, tmp_path):
    path = tmp_path / "q.csv"
    plans.save(plans.draw(dataset, find_suite("standard"), 0, limit=7), path)
    lines = path.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("joint,0,a,"))
    cells = lines[at].split(",")
    cells[place] = new
    lines[at] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=why):
        plans.load(path, dataset)


@pytest.mark.parametrize(
    ("joint", "why"),
    [
        ([["a", "a"]], "two variables"),
        ([["a", "b"], ["b", "a"]], "each two once"),
        ([["a", "image"]], "'image' cannot be set"),
        ([["a", "b"]] * 7, "6"),
    ],
)
def test_a_card_names_pairs_that_can_be_set(joint, why, toy):
    with pytest.raises(ValueError, match=why):
        Card.model_validate({**toy.CARD.model_dump(exclude={"path"}), "joint": joint})


def test_every_card_with_truth_names_some():
    from counterbench import datasets
    from counterbench.catalog import declarations, section

    cards = [datasets.card(path.stem) for path in declarations(section("datasets"))]
    assert len(cards) >= 6
    assert all(card.joint for card in cards if card.truth)


def test_they_are_judged_like_single_ones(exact, singly):
    perfect = {"truth_skill": 1, "change_skill": 1, "effect": 1, "effect_error": 0, "amplification": 0}
    of = {(n.metric, n.quantity, n.intervened, n.measured): n for n in exact.record.numbers}
    for a, b in JOINT:
        for quantity, value in perfect.items():
            assert of["truth", quantity, f"{a} + {b}", ""].value == pytest.approx(value, abs=1e-6)
    skills = {key[3]: n.value for key, n in of.items() if key[:3] == ("effectiveness", "skill", "a + c")}
    assert skills.keys() == {"a", "b", "c"}  # what is set, and what follows
    assert all(value == pytest.approx(1) for value in skills.values())
    assert ("effectiveness", "skill", "a + b", "c") not in of
    assert of["truth", "truth_skill", "a + c", ""].references["identity"].value == 0
    assert of["effectiveness", "absolute_error", "a + c", "b"].references["real"].value < 1e-6
    half = {(n.quantity, n.intervened, n.measured): n.value for n in singly.record.numbers}
    assert half["skill", "a + c", "a"] == pytest.approx(1)
    assert half["skill", "a + c", "c"] == 0  # it was forgotten
    assert half["truth_skill", "a", ""] == pytest.approx(1, abs=1e-6)
    assert half["truth_skill", "a + c", ""] < 0.9


def test_they_do_not_enter_the_row_skill(exact, singly):
    assert singly.record.row_skill.value == pytest.approx(exact.record.row_skill.value, abs=1e-6)
    parts = {part.intervened: part for part in singly.record.row_skill.parts}
    assert parts["a + c"].left_out == "it sets two variables at once"
    assert parts["a + c"].bounded is None
    assert parts["a + c"].skill < 0.9
    assert not problems(singly.record)
    assert Record.model_validate_json(singly.record.model_dump_json()) == singly.record


def test_their_own_change_skill_admits_them_to_ranks(exact):
    """Doing nothing wins amplification; what is asked of do(a) alone says nothing of do(a, c)."""
    record = exact.record
    number = next(n for n in record.numbers if n.quantity == "amplification" and n.intervened == "a + c")
    assert ranking.why_not(record, number) == ""
    still = [
        one.model_copy(update={"low": -1.0}) if (one.quantity, one.intervened) == ("change_skill", "a + c") else one
        for one in record.numbers
    ]
    why = ranking.why_not(record.model_copy(update={"numbers": still}), number)
    assert why == "its change skill under do(a + c) is not above 0"


def test_pictures_show_them(exact, dataset):
    shown = exact.shown["a + c"]
    assert shown.wanted.keys() == {"a", "c"}
    figure = evaluation_figure(exact, dataset)
    assert "do(a + c)" in {text.get_text() for axis in figure.axes for text in axis.texts}


def test_scores_hang_on_no_batch(dataset):
    known = asked.setting(dataset, joint=JOINT, joint_with_truth=JOINT)
    for name in ("truth", "effectiveness"):
        whole, parts = (
            asked.computed(name, known, asked.answers(dataset, asked.noisy, order, joint=JOINT))
            for order in ([torch.arange(20)], torch.arange(20).split(7))
        )
        assert any(column.cell.intervened == ("a", "c") for column in whole)
        for one, other in zip(whole, parts, strict=True):
            assert one.cell == other.cell
            assert torch.allclose(one.value, other.value)


def test_a_model_may_decline_them(toy, dataset):
    class OneAtATime(toy.ExactModel):
        def can_answer(self, intervened):
            return len(intervened) < 2

    record = records(toy, dataset, OneAtATime()).record
    assert record.skipped["do(a + c)"] == "m does not answer this question"
    assert not any(" + " in number.intervened for number in record.numbers)
    assert record.row_skill is not None


def test_answers_from_files_get_the_same_numbers(toy, dataset, exact, tmp_path, monkeypatch):
    import csv

    import numpy as np

    exam = evaluation.prepare(dataset, device="cpu", metrics=["truth", "effectiveness"], limit=6)
    questions.export(exam, tmp_path / "f")
    home, model, split = tmp_path / "f" / "round-1", toy.ExactModel(), dataset.split("test")
    for row in csv.DictReader((home / "questions.csv").open(newline="")):
        factual = split.take(torch.tensor([int(row["row"])]))
        held = {}
        for name, value in ((row["variable"], row["value"]), (row["beside"], row["beside_value"])):
            if name:
                read = questions.read_value(dataset.variables[name], value)
                held[name] = torch.tensor([read]).to(factual[name].dtype)
        assert row["id"].split(".")[0] != "joint" or len(held) == 2
        answer = model.counterfactual(factual, held)["image"][0] if held else factual["image"][0]
        np.save(home / "answers" / f"{row['id']}.npy", answer.numpy())
    monkeypatch.setattr("counterbench.datasets.load", lambda *_, **__: dataset)
    scoring = ready(tmp_path / "f", device="cpu")
    record = evaluation.evaluate(scoring.contestant, scoring.exam).record
    skills = {n.intervened: n.value for n in record.numbers if n.quantity == "truth_skill"}
    assert {"a + c", "a + b"} <= skills.keys()
    assert all(value == pytest.approx(1, abs=1e-4) for value in skills.values())
    for path in (home / "answers").glob("joint.a.c.*"):
        path.unlink()
    assert "do(a, c) at once" in ready(tmp_path / "f", device="cpu").contestant.coverage["left_out"]
