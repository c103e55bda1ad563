"""Where nobody knows the truth, an estimate orders a board; and answers are judged after a perturbation that is the same for everybody."""

import pytest
import torch
from toy import Toy

from counterbench import evaluation
from counterbench.catalog.agreement import Agreement
from counterbench.evaluation import results_folder
from counterbench.evaluation.batches import Shared, SharedBatch
from counterbench.evaluation.typical_change import typical_change
from counterbench.leaderboard import board, formats
from counterbench.leaderboard.order import order
from counterbench.leaderboard.scored import ScoredRecord
from counterbench.metrics.perturbation import LEVELS
from counterbench.models.model import Contestant
from counterbench.records.intervals import Ratios
from counterbench.records.plausibility import problems

pytestmark = pytest.mark.usefixtures("cache_of_module")

RECOGNISED = {"recogniser": "toy-residual"}


class Hidden(Toy):
    """The toy as if it were files: only the null intervention has a true answer."""

    def knows_truth(self, intervened):
        return not intervened


@pytest.fixture(scope="module")
def exam():
    suite = evaluation.prepare(Hidden(), "standard", device="cpu").suite
    options = {
        "composition": {},
        "reversibility": {},
        "effectiveness": {},
        "estimate": RECOGNISED,
        "recognition": RECOGNISED,
    }
    suite = suite.model_copy(update={"metrics": options, "resamples": 200, "cycles": 1})
    return evaluation.prepare(Hidden(), suite, device="cpu", limit=80)


class Blurred:
    """The exact model, whose images lose 6 grey levels of themselves every time."""

    def __init__(self, toy):
        self.exact = toy.ExactModel()

    def counterfactual(self, factual, interventions, generator=None):
        answer = self.exact.counterfactual(factual, interventions, generator)
        coarse = torch.nn.functional.avg_pool2d(answer["image"], 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        return {**answer, "image": coarse}


@pytest.fixture(scope="module")
def made(toy, exam):
    rows = {"exact": toy.ExactModel(), "blurred": Blurred(toy)}
    return {name: evaluation.evaluate(Contestant(name, model), exam) for name, model in rows.items()}


def test_an_estimate_takes_the_place_of_the_truth(made):
    for one in made.values():
        skill = one.record.row_skill
        assert {part.by for part in skill.parts if not part.left_out} == {"estimate"}
        assert skill.references["identity"].value == pytest.approx(0, abs=1e-9)
        assert "truth" not in skill.references
        assert not problems(one.record)
    exact, blurred = (made[name].record.row_skill for name in ("exact", "blurred"))
    assert exact.value > 0.5 > blurred.value
    assert exact.low > blurred.high


def test_the_parts_are_the_estimated_skills(made):
    record = made["exact"].record
    for part in record.row_skill.parts:
        if not part.left_out:
            number = record.by_key["estimate", "estimated_skill", part.intervened, "", 0, ""]
            assert part.skill == part.estimated == number.value
            assert part.bounded == pytest.approx(number.value / (2 - number.value))
            assert part.true_change == Hidden().card.typical_change["formula"][part.intervened]


def test_a_board_without_truth_is_in_that_order(made):
    rows = []
    for name, one in made.items():
        ratios = {
            column.cell.key_of(column.metric): Ratios(column.value.numpy()[:, None], column.reference.numpy()[:, None])
            for column in one.columns
            if len(column.value) == 80
        }
        rows.append(ScoredRecord(name, one.record, ratios))
    ranked = order(rows, 200)
    assert list(ranked.skills) == ["exact", "blurred"]
    assert ranked.places["exact"].rank == 1
    assert ranked.places["blurred"].rank == 2


def test_a_board_that_rests_on_the_estimate_says_how_well_it_orders(made, tmp_path, monkeypatch):
    for name, one in made.items():
        results_folder.save(one, tmp_path / name)
    (built,) = board.build(board.find(tmp_path))
    monkeypatch.setattr(formats, "measured_agreement", dict)
    told = " ".join(formats.about_order(built))
    assert "Of do(a), do(b), do(c) nobody knows the true counterfactuals" in told
    assert "has not been measured" in told
    rows = {"x": (1.0, 1.0), "y": (0.0, 0.0), "x, null = input": (1.0, 0.0)}
    taus = {
        "tau": (0.5, 0.25, 0.75),
        "exact": (0.6, 0.0, 1.0),
        "half": 0.4,
        "double": 0.4,
        "null_loss_only": 0.4,
        "with_shortcuts": 0.3,
    }
    known = Agreement(source="formula", images=10, interventions=["a"], rows=rows, **taus)
    monkeypatch.setattr(formats, "measured_agreement", lambda: {"toy": known})
    told = " ".join(formats.about_order(built))
    assert "On toy / formula" in told
    assert "Kendall's tau 0.50 [0.25, 0.75] over 2 rows" in told


def test_with_the_truth_the_estimate_stands_beside_it(toy, exam):
    known = evaluation.prepare(
        Toy(), exam.suite, device="cpu", metrics=["truth", "estimate", "reversibility"], limit=60
    )
    skill = evaluation.evaluate(Contestant("exact", toy.ExactModel()), known).record.row_skill
    for part in skill.parts:
        if not part.left_out:
            assert part.by == "truth"
            assert part.skill == pytest.approx(1, abs=1e-6)
            assert part.estimated > 0.5


def test_the_perturbation_is_that_of_the_row_whoever_answers_and_in_whatever_batch(exam):
    shared = Shared(exam)
    whole, part = SharedBatch(shared, torch.arange(10)), SharedBatch(shared, torch.tensor([7, 3]))
    images = whole.view.images
    shaken = whole.shake(images)
    assert torch.equal(part.shake(images[[7, 3]]), shaken[[7, 3]])
    assert torch.equal(shaken, shaken.round())
    assert not torch.equal(shaken, images)
    flat = torch.full_like(images, 100.0)
    noise = whole.shake(flat) - flat
    assert float(noise.std()) == pytest.approx(LEVELS, rel=0.1)
    assert float(noise.mean()) == pytest.approx(0, abs=0.3)


def test_the_typical_change_of_models_by_hand(toy):
    dataset = toy.Toy()

    class Brighter:
        def __init__(self, by):
            self.by = by

        def counterfactual(self, factual, interventions, generator=None):
            step = float(self.by if interventions else 0)
            return {**factual, **interventions, "image": (factual["image"] * 0 + 100 + step)}

    changes = typical_change([Contestant(str(by), Brighter(by)) for by in (1, 4, 30)], dataset, limit=20)
    assert changes == {"a": 4.0, "b": 4.0, "c": 4.0}
