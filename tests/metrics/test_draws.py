"""Several draws of one answer."""

from dataclasses import replace

import asked
import pytest
import torch

from counterbench import evaluation
from counterbench.causal.chance import normal
from counterbench.errors import ConfigError
from counterbench.evaluation.exam_of_record import exam_of
from counterbench.metrics.draws import SeveralDraws, energy_score
from counterbench.models.model import Contestant
from counterbench.models.scm import StructuralCausalModel

COUNT = 100


def singles(toy, drawn_of):
    """Answers to single questions about the toy, with draws `drawn_of(answers) -> (number -> values)`."""
    every = asked.answers(toy.Toy(), asked.true, [torch.arange(COUNT)])
    return [replace(one, drawn=drawn_of(one)) for one in every if one.kind == "single"]


def points(toy, drawn_of, **options):
    columns = asked.computed("draws", asked.setting(toy.Toy()), singles(toy, drawn_of), **options)
    return {(c.cell.quantity, c.cell.intervened, c.cell.measured): c for c in columns}


def around_truth(scale, off=0.0):
    """Draws whose law is that of the truth, (truth + noise) + noise of its own, if scale is 1."""

    def drawn_of(answers):
        generator = torch.Generator().manual_seed(0)
        shape = tuple(answers.truth["image"].shape)
        centre = answers.truth["image"].double() + normal(shape, generator, torch.zeros(1).double())
        noises = [normal(shape, generator, centre) for _ in range(20)]
        return lambda number: {**answers.truth, "image": centre + off + scale * noises[number]}

    return drawn_of


def test_draws_of_the_right_width_cover_as_often_as_they_should(toy):
    for scale, low, high in ((1.0, 0.98, 1.02), (0.3, 0.1, 0.7), (3.0, 1.08, 1.2)):
        found = points(toy, around_truth(scale))
        for name in asked.NAMES:
            assert low < found["coverage", name, ""].point() < high
            assert found["spread", name, ""].point() == pytest.approx(scale, rel=0.02)


def test_the_energy_score_is_best_for_the_right_law(toy):
    """Neither narrower, wider nor shifted draws do better."""
    right = points(toy, around_truth(1.0))["energy_score", "a", ""].point()
    for scale, off in ((0.3, 0.0), (2.0, 0.0), (1.0, 0.5)):
        assert points(toy, around_truth(scale, off))["energy_score", "a", ""].point() > right * 1.02


def test_energy_score_of_a_normal_law():
    """In one dimension it is the continuous ranked probability score: 2 phi(0) - 1 / sqrt(pi) in the middle."""
    draws = normal((400, 50, 1), torch.Generator().manual_seed(0), torch.zeros(1).double())
    expected = (2 / torch.pi) ** 0.5 - 1 / torch.pi**0.5
    assert float(energy_score(draws, torch.zeros(400, 1)).mean()) == pytest.approx(expected, rel=0.03)


def test_of_one_certain_answer_it_is_the_distance_from_the_truth(toy):
    certain = points(toy, lambda one: lambda number: {**one.truth, "image": one.truth["image"] + 2.0})
    assert certain["energy_score", "a", ""].point() == pytest.approx(2.0)
    assert certain["spread", "a", ""].point() == 0
    assert certain["coverage", "a", ""].point() == 0
    assert "without chance" in certain["coverage", "a", ""].no_rank
    assert not points(toy, around_truth(1.0))["coverage", "a", ""].no_rank


def test_where_draws_equal_the_truth_chance_decides(toy):
    """In whole grey levels, calibrated draws cover as often as they should, however narrow; a pixel that never changes as well."""

    def whole(scale):
        def rounded_of(answers):
            generator = torch.Generator().manual_seed(1)
            middle = answers.truth["image"].double()
            true = (middle + scale * normal(tuple(middle.shape), generator, middle)).round()
            noises = [normal(tuple(middle.shape), generator, middle) for _ in range(20)]
            return replace(
                answers,
                truth={**answers.truth, "image": true},
                drawn=lambda number: {**answers.truth, "image": (middle + scale * noises[number]).round()},
            )

        every = asked.answers(toy.Toy(), asked.true, [torch.arange(COUNT)])
        batches = [rounded_of(one) for one in every if one.kind == "single" and one.intervened == ("a",)]
        columns = asked.computed("draws", asked.setting(toy.Toy()), batches)
        (found,) = (c for c in columns if c.cell.quantity == "coverage" and not c.cell.measured)
        return found.point()

    for scale in (0.2, 0.5, 3.0):
        assert whole(scale) == pytest.approx(1, abs=0.02)
    constant = points(toy, lambda one: lambda number: one.truth)
    assert constant["coverage", "a", ""].point() == pytest.approx(1)


def test_a_rare_draw_is_seen_whatever_the_batch(toy):
    """One row of which only draw 5 differs: the scores of both rows are those that each has alone."""

    def rare(answers):
        image = answers.truth["image"]
        lone = (answers.index == 3).view(-1, 1, 1, 1)
        return lambda number: {**answers.truth, "image": torch.where(lone & (number == 5), image + 40, image)}

    found = {}
    for size in (1, 8):
        every = asked.answers(toy.Toy(), asked.true, torch.arange(8).split(size))
        batches = [replace(one, drawn=rare(one)) for one in every if one.kind == "single"]
        columns = asked.computed("draws", asked.setting(toy.Toy()), batches)
        found[size] = {(c.cell.quantity, c.cell.intervened, c.cell.measured): c.value for c in columns}
    assert found[1]["spread", "a", ""][3] > 0
    for key, values in found[1].items():
        assert torch.allclose(values, found[8][key], rtol=1e-6), key


def test_what_judges_read_is_covered_too(toy):
    """Draws that are all brighter than the truth never cover the brightness that a judge reads."""
    found = points(toy, around_truth(0.01, off=30.0))
    assert {measured for quantity, _, measured in found if quantity == "coverage"} == {"", "a", "b"}
    assert found["coverage", "c", "a"].point() < 0.2


def test_a_draw_is_the_same_in_all_questions_and_differs_from_the_others(toy, tmp_path, monkeypatch):
    """One stream per row and draw; what is drawn for a row does not depend on the batch."""
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path))

    class Drawing(toy.ExactModel):
        def __init__(self):
            super().__init__()
            self.noises = {}

        def counterfactual(self, factual, interventions, generator=None):
            answer = super().counterfactual(factual, interventions, generator)
            drawn = generator.normal(1)[:, 0] if generator is not None else torch.zeros(len(factual.index))
            for shown, value in zip(factual["image"], drawn.tolist(), strict=True):
                key = shown.numpy().tobytes(), next(iter(interventions), "")
                self.noises.setdefault(key, []).append(value)
            return {**answer, "image": answer["image"] + 5 * drawn[:, None, None, None].float()}

    model = Drawing()
    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["truth"], limit=6, draws=3)
    evaluation.evaluate(Contestant("m", model), exam, batch_size=4)
    first = exam.dataset.split("test").take(exam.plan.index[:1])["image"][0].numpy().tobytes()
    by_question = [set(values) for (shown, name), values in model.noises.items() if shown == first and name]
    assert len(by_question) == len(asked.NAMES)
    # Beside the answer itself: three draws, which are the same whatever is set.
    assert len(set.intersection(*by_question)) >= 4


def test_an_scm_is_abducted_once_per_row_and_draw(toy, tmp_path, monkeypatch):
    """The same noise answers all questions about a row; rows and draws differ."""
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path))
    scm = toy.exact_scm()

    class Drawing(StructuralCausalModel):
        def abduct(self, factual, generator=None):
            self.seen.append(generator.normal(1)[:, 0])
            return super().abduct(factual, generator)

    def abductions(draws):
        model = Drawing(scm.graph, scm.mechanisms.values())
        model.seen = []
        exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["truth"], limit=6, draws=draws)
        evaluation.evaluate(Contestant("m", model), exam, batch_size=6)
        return [tuple(one.tolist()) for one in model.seen if len(one) == 6]

    three, five = abductions(3), abductions(5)
    # One more for each draw, however many questions there are.
    assert len(five) == len(three) + 2
    new = set(five) - set(three)
    assert len({number for one in new for number in one}) == 12


def test_a_record_with_draws_is_verified_and_judged_again(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path))
    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["truth"], limit=6, draws=3)
    record = evaluation.evaluate(Contestant("m", toy.ExactModel()), exam).record
    assert exam_of(record, dataset=toy.Toy(), suite="standard", device="cpu").metrics == exam.metrics
    left_out = exam_of(record, dataset=toy.Toy(), suite="standard", device="cpu", metrics=["truth"])
    assert list(left_out.metrics) == ["truth"]


def test_few_draws_are_no_interval_of_90_percent(toy):
    assert "3 draws make no interval" in points(toy, around_truth(1.0), count=3)["coverage", "a", ""].no_rank
    assert "how sure" in points(toy, around_truth(1.0))["spread", "a", ""].no_rank


def test_one_draw_is_refused(toy):
    with pytest.raises(ConfigError, match="at least 2"):
        SeveralDraws(asked.setting(toy.Toy()), count=1)
