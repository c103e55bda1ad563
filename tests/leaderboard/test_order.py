"""What orders a board: doing nothing, its mixtures, tricks and the truth get what the definition of the row skill says."""

import numpy as np
import pytest
import torch

from counterbench import evaluation, leaderboard
from counterbench.evaluation import results_folder
from counterbench.evaluation import row_skill as made_row_skill
from counterbench.leaderboard import formats
from counterbench.leaderboard.order import order
from counterbench.leaderboard.ranking import why_not
from counterbench.leaderboard.scored import ScoredRecord
from counterbench.models.baselines import BASELINES
from counterbench.models.model import Contestant
from counterbench.records import row_skill, totals
from counterbench.records.intervals import Ratios
from counterbench.records.plausibility import problems
from counterbench.records.record import NOT_SHOWN, Record

METRICS = ["composition", "reversibility", "commutativity", "effectiveness", "truth"]


class Answer:
    """A function as a model. It is told the rows, as baselines are: mixtures of baselines ask for what those need."""

    needs_rows = True
    __module__ = "counterbench.models.baselines"

    def __init__(self, answer):
        self.answer = answer

    def counterfactual(self, factual, interventions, generator=None):
        return self.answer(factual, interventions, generator)


def by_row(first, second):
    """One model for the even rows of the test split, another for the odd ones."""

    def answer(factual, interventions, generator):
        one, other = (model.counterfactual(factual, interventions, generator) for model in (first, second))
        even = factual.index % 2 == 0
        return {k: torch.where(even.view(-1, *[1] * (one[k].ndim - 1)), one[k], other[k]) for k in one}

    return Answer(answer)


def by_intervention(first, second):
    """One model for do(a), another for everything else."""
    return Answer(
        lambda factual, do, generator: (first if "a" in do else second).counterfactual(factual, do, generator)
    )


def null_shortcut(model):
    """Returns its input where nothing is asked."""
    return Answer(lambda factual, do, generator: model.counterfactual(factual, do, generator) if do else dict(factual))


def negative(factual, interventions, generator):
    """Attributes as they are wished, and the image that is farthest from them."""
    return {**factual, **interventions, "image": 255 - factual["image"]}


class Half(Answer):
    """Takes no question about b."""

    def can_answer(self, intervened):
        return "b" not in intervened


@pytest.fixture(scope="module")
def board(toy, tmp_path_factory):
    home = tmp_path_factory.mktemp("order")
    dataset = toy.Toy()
    exam = evaluation.prepare(dataset, "standard", device="cpu", metrics=METRICS)
    base = {
        name: BASELINES[name](dataset, references=exam.suite.references)
        for name in ("identity", "resample", "retrieve", "noise", "truth")
    }
    good, blurred = toy.exact_scm(keep=0.7), toy.exact_scm(keep=0.0)
    rows = {
        **{f"plain {name}": model for name, model in base.items()},
        "good": good,
        "blurred": blurred,
        "negative": Answer(negative),
        "identity or negative": by_row(base["identity"], Answer(negative)),
        "identity or good": by_row(base["identity"], good),
        "good for a, identity else": by_intervention(good, base["identity"]),
        "negative, null its input": null_shortcut(Answer(negative)),
        "half": Half(good.counterfactual),
    }
    for name, model in rows.items():
        results_folder.save(evaluation.evaluate(Contestant(name, model, pixel_noise="none"), exam), home / name)
    (built,) = leaderboard.build(leaderboard.find(home), resamples=1000)
    return built


def skills(board):
    return {line.name: line.skill.value for line in board.lines}


def test_doing_nothing_is_zero_and_the_truth_is_one(board):
    found = skills(board)
    assert found["plain identity"] == found["identity"] == 0
    assert found["plain truth"] == found["truth"] == 1
    assert 0.6 < found["good"] < 1
    for name in ("resample", "retrieve", "noise"):
        assert found[f"plain {name}"] == found[name]
    assert found["noise"] < 0


def test_who_knows_the_truth_is_flagged(board):
    rows = {row.name: row for row in board.rows}
    (flag,) = rows["plain truth"].record.flags
    assert flag.startswith("answers equal the truth to the last pixel in 100% of the rows")
    assert flag in rows["plain truth"].marks
    others = {row.name: row.record.flags for row in board.rows if row.name != "plain truth" and row.record.flags}
    # Where nothing is asked, these return their input.
    assert others.keys() == {"good for a, identity else", "negative, null its input"}
    assert all(flag.startswith(f"{NOT_SHOWN}: asked for nothing, its answer is 0 grey") for (flag,) in others.values())


def test_the_order_is_that_of_the_row_skills(board):
    values = [line.skill.value for line in board.lines]
    assert values == sorted(values, reverse=True)
    places = {line.name: line.place.rank for line in board.lines if line.place}
    assert places["plain truth"] == 1
    assert places["good"] == 2
    assert places["good"] < places["identity or good"] < places["plain identity"] < places["negative"]


def test_doing_nothing_for_half_of_the_rows_never_pays(board):
    """A mixture by row of identity and something worse stays below identity, one of something better below that."""
    found = skills(board)
    assert found["negative"] < found["identity or negative"] < 0
    assert 0 < found["identity or good"] < found["good"]


def test_a_mixture_by_intervention_gets_what_its_parts_get(board):
    rows = {row.name: row.record.row_skill for row in board.rows}
    parts = {part.intervened: part.bounded for part in rows["good"].parts}
    mixed = {part.intervened: part.bounded for part in rows["good for a, identity else"].parts}
    assert mixed == {"a": pytest.approx(parts["a"]), "b": 0, "c": 0}
    assert rows["good for a, identity else"].value == pytest.approx(parts["a"] / 3)


def test_answering_null_with_its_input_gains_nothing(board):
    found = skills(board)
    assert found["negative, null its input"] == found["negative"]
    cheat = next(row for row in board.rows if row.name == "negative, null its input")
    assert not [key for key in cheat.ranks if key[0] in ("composition", "reversibility", "commutativity")]


def test_what_is_not_answered_counts_minus_one_and_is_marked(board):
    rows = {row.name: row for row in board.rows}
    whole = {part.intervened: part.bounded for part in rows["good"].record.row_skill.parts}
    half = rows["half"].record.row_skill
    assert {part.intervened: part.bounded for part in half.parts} == {**whole, "b": -1.0}
    assert half.value == pytest.approx((whole["a"] - 1 + whole["c"]) / 3)
    assert rows["half"].place.rank > rows["good"].place.rank
    assert "no answer to do(b), which counts -1" in rows["half"].marks


def test_preservation_ranks_only_who_makes_the_change(board):
    """Composition, reversibility and commutativity are won by doing nothing: it has no rank there, and the reason is beside the dash."""
    rows = {row.name: row for row in board.rows}
    composition = ("composition", "l1", "", "", 1, "l1")
    reversal = ("reversibility", "l1", "b", "", 0, "l1")
    for name in ("plain identity", "negative", "identity or negative"):
        assert composition not in rows[name].ranks
        assert rows[name].barred[composition] == "its row skill is not above 0"
        assert rows[name].barred[reversal] == "its change skill under do(b) is not above 0"
    assert composition in rows["good"].ranks
    assert reversal in rows["good"].ranks
    mixed = rows["good for a, identity else"]
    pair = next(key for key in rows["good"].ranks if key[0] == "commutativity" and "a + " in key[2])
    assert not mixed.ranks.keys() & {composition, reversal, pair}
    assert mixed.barred[composition] == mixed.record.flags[0]
    unflagged = mixed.record.model_copy(update={"flags": []})
    reasons = [why_not(unflagged, unflagged.by_key[key]) for key in (composition, reversal, pair)]
    assert reasons[:2] == ["", "its change skill under do(b) is not above 0"]
    assert reasons[2].startswith("its change skill under do(")


def test_change_skill_does_not_mind_blur(board):
    """Everything but the pattern of this individual is right: the change is, the answer is not."""
    rows = {row.name: row for row in board.rows}
    assert rows["blurred"].change_skill == pytest.approx(1, abs=1e-6)
    assert rows["blurred"].skill.value < 0.9 * rows["good"].skill.value


def test_doing_nothing_beats_only_where_it_is_not_perfect_by_definition(board):
    rows = {row.name: row for row in board.rows}
    beaten, compared = rows["good"].beaten
    assert beaten < compared / 4
    headline = [n for n in rows["good"].record.numbers if n.role == "headline" and n.floor is not None and not n.given]
    preserving = [n for n in headline if n.preserves]
    assert compared == len(headline) - len(preserving)
    assert rows["plain noise"].beaten[0] > compared / 3


def test_an_intervention_that_changes_less_than_a_grey_level_orders_nothing(toy, monkeypatch):
    monkeypatch.setattr(made_row_skill, "LEAST_CHANGE", 6.0)
    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["truth"], limit=40)
    found = evaluation.evaluate(Contestant("good", toy.exact_scm(keep=0.9)), exam).record.row_skill
    left = {part.intervened: part.left_out for part in found.parts if part.left_out}
    assert 0 < len(left) < len(found.parts)
    for part in found.parts:
        assert bool(part.left_out) == (part.true_change < 6)
        assert (part.bounded is None) == bool(part.left_out)
    assert all(why.endswith("grey levels, less than 6") for why in left.values())


def test_without_truth_there_is_no_order_and_the_head_says_so(toy, monkeypatch, tmp_path):
    monkeypatch.setattr(toy.Toy, "knows_truth", lambda self, intervened: not intervened)
    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["composition"], limit=20)
    done = evaluation.evaluate(Contestant("good", toy.exact_scm(keep=0.9)), exam)
    assert done.record.row_skill is None
    assert "do(a), do(b), do(c): its true counterfactual is not known" in done.record.skipped["row skill"]
    results_folder.save(done, tmp_path)
    (built,) = leaderboard.build(leaderboard.find(tmp_path))
    assert "This board has no order" in formats.markdown(built)


# --- closed forms --------------------------------------------------------------------------------------------------------


def scored_row(name, errors, nothing, unanswered=0):
    """A row whose answers have these errors, (G, K), where doing nothing has those."""
    skill = row_skill.RowSkill(Ratios(errors, nothing), unanswered)
    return ScoredRecord(name, None, {}), skill


@pytest.mark.parametrize("unanswered", [0, 2])
def test_row_skill_is_the_mean_of_bounded_ratios_of_sums(unanswered):
    rng = np.random.default_rng(0)
    errors, nothing = rng.random((30, 3)), 1 + rng.random((30, 3))
    _, skill = scored_row("a", errors, nothing, unanswered)
    e, e0 = errors.sum(0), nothing.sum(0)
    expected = (((e0 - e) / (e0 + e)).sum() - unanswered) / (3 + unanswered)
    assert skill.point()[0] == pytest.approx(expected)
    step = 1e-6  # an influence is what more of a cluster adds
    more = Ratios(errors.copy(), nothing.copy())
    more.numerator[4] *= 1 + step
    more.denominator[4] *= 1 + step
    slope = (row_skill.RowSkill(more, unanswered).point()[0] - skill.point()[0]) / step
    assert skill.influence()[4, 0] == pytest.approx(slope, rel=1e-4)
    assert skill.influence().sum() == pytest.approx(0, abs=1e-9)


def test_bounded_keeps_the_order_of_the_worst():
    ratios = np.array([0, 0.5, 1, 2, 10, 1e6])
    values = row_skill.bounded(ratios)
    assert (np.diff(values) < 0).all()
    assert values[0] == 1
    assert values[2] == 0
    assert values[-1] > -1


def rows_with(shares, clusters=60, noise=0.3, seed=0):
    """Rows whose error is a share of that of doing nothing, with noise of their own; equal shares get equal noise."""
    from types import SimpleNamespace

    rng = np.random.default_rng(seed)
    nothing = 1 + rng.random((clusters, 1))
    part = SimpleNamespace(intervened="a", by="truth", skill=0.5, left_out="")
    record = SimpleNamespace(row_skill=SimpleNamespace(parts=[part]))
    key = (*row_skill.TRUTH_SKILL, "a", "", 0, "")
    rows = []
    for name, (share, own) in shares.items():
        errors = nothing * share + own * noise * np.random.default_rng(seed + 1).normal(size=(clusters, 1))
        rows.append(ScoredRecord(name, record, {key: Ratios(errors, nothing)}))
    return rows


def test_equal_undecided_and_better():
    found = order(
        rows_with({"best": (0.2, 0), "same": (0.2005, 0), "vague": (0.22, 1), "worst": (0.9, 0)}), resamples=1000
    )
    verdicts = {(pair.first, pair.second): pair.verdict for pair in found.pairs}
    assert verdicts["best", "same"] == "equal"
    assert verdicts["best", "vague"] == verdicts["same", "vague"] == "undecided"
    assert {verdicts[name, "worst"] for name in ("best", "same", "vague")} == {"first"}
    assert {name: (place.rank, place.last) for name, place in found.places.items()} == {
        "best": (1, 2),
        "same": (1, 2),
        "vague": (1, 3),
        "worst": (4, 4),
    }
    assert found.resolution > 0


def test_who_leaves_an_intervention_out_has_no_place(board):
    """A record that says that an intervention does not count for it would choose what it is judged by."""
    rows = [ScoredRecord(row.name, row.record, totals.read(row.path, merge=True).numbers) for row in board.rows[:4]]
    skill = rows[1].record.row_skill
    parts = [part.model_copy(update={"left_out": "too hard" if part.intervened == "b" else ""}) for part in skill.parts]
    record = rows[1].record.model_copy(update={"row_skill": skill.model_copy(update={"parts": parts})})
    found = order([rows[0], ScoredRecord(rows[1].name, record, rows[1].ratios), *rows[2:]], resamples=200)
    assert rows[1].name not in found.places
    assert found.notes == (
        f"{rows[1].name} has no place: its row skill counts do(a), do(c), that of the others do(a), do(b), do(c)",
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": 0.99}, "the row skill is 0.99; its interventions give"),
        ({"parts": []}, "counts no intervention"),
        (
            {"references": {"identity": {"value": 0.2, "low": None, "high": None, "n": 5}}},
            "of identity is 0 by definition",
        ),
    ],
)
def test_a_row_skill_follows_from_the_truth_skills(board, change, words):
    record = board.rows[1].record
    assert problems(record) == []
    plain = record.model_dump()
    plain["row_skill"] |= change
    assert words in "\n".join(problems(Record.model_validate(plain)))


def test_a_part_of_the_row_skill_is_the_truth_skill(board):
    plain = board.rows[1].record.model_dump()
    plain["row_skill"]["parts"][0]["skill"] = 0.999
    assert "the row skill says 0.999 of do(a), whose truth skill is" in "\n".join(
        problems(Record.model_validate(plain))
    )


def test_a_false_difference_is_rare():
    """Two rows of the same quality with errors of their own: one is called better in about one of twenty pairs."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(200):
        nothing = 1 + rng.random((80, 1))
        rows = rows_with({"a": (0.5, 0), "b": (0.5, 0)}, clusters=80)
        rows = [
            ScoredRecord(row.name, row.record, dict.fromkeys(row.ratios, Ratios(0.5 * nothing + e, nothing)))
            for row, e in zip(rows, rng.normal(scale=0.4, size=(2, 80, 1)), strict=True)
        ]
        (pair,) = order(rows, resamples=400).pairs
        alarms += pair.verdict in ("first", "second")
    assert 1 <= alarms <= 22
