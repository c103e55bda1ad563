"""Questions give nothing away, and answers carry nothing but what an image file could hold."""

import pytest
import torch
from toy import Linear

from counterbench import evaluation, models
from counterbench.causal.chance import SampleNoise, normal
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Continuous, Image
from counterbench.errors import ConfigError, ModelError
from counterbench.evaluation import asked_again, session
from counterbench.evaluation import taking as taking_module
from counterbench.models.model import Contestant, checked_answer
from counterbench.models.scm import StructuralCausalModel


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def exam(toy):
    names = ["composition", "reversibility", "commutativity", "truth"]
    suite = evaluation.prepare(toy.Toy(), "standard", device="cpu").suite.model_copy(update={"resamples": 20})
    return evaluation.prepare(toy.Toy(), suite, device="cpu", metrics=names, limit=24)


def values(model, exam, **options):
    """Every number of a model by its key."""
    record = evaluation.evaluate(Contestant("m", model), exam, **options).record
    return {key: number.value for key, number in record.by_key.items()}


class Lossy:
    """The toy's causal model with half of the pixels' noise."""

    def __init__(self, toy):
        self.scm = toy.exact_scm(keep=0.5)

    def counterfactual(self, factual, interventions, generator=None):
        return self.scm.counterfactual(factual, interventions, generator)


class Steganographer(Lossy):
    """Hides the photograph in the decimals of its answers, and returns it when it finds one there."""

    def counterfactual(self, factual, interventions, generator=None):
        image = factual["image"].double()
        hidden = ((image - image.round()) * 1000).round() + 128
        coded = (image != image.round()).flatten(1).any(1)[:, None, None, None]
        original = torch.where(coded, hidden, image)
        answer = super().counterfactual(factual, interventions, generator)
        shown = torch.where(coded, original, answer["image"].double().round())
        return {**answer, "image": shown + (original - 128) / 1000}


def test_what_is_hidden_in_decimals_does_not_pay(toy, exam):
    """It would be off by nothing from the second null intervention on, and after a return."""
    assert values(Steganographer(toy), exam) == values(Lossy(toy), exam)


def test_answers_are_whole_grey_levels():
    variables = {"image": Image("image", 1, 1, 4), "age": Continuous("age", 0, 9)}
    image = torch.tensor([-3.0, 0.6, 255.4, 300.0]).view(1, 1, 1, 4)
    answer = checked_answer({"image": image, "age": torch.tensor([4.25])}, variables, {}, 1)
    assert answer["image"].flatten().tolist() == [0, 1, 255, 255]
    assert answer["age"].tolist() == [4.25]
    assert answer.ends == (-3, 300)
    assert answer.outside.tolist() == [0.5]


def test_pixels_out_of_range_are_told(toy, exam):
    class Bright(Lossy):
        def counterfactual(self, factual, interventions, generator=None):
            answer = super().counterfactual(factual, interventions, generator)
            answer["image"][:, :, 0] = 260.0
            return answer

    told = "12.50% of the pixels of its answers were out of range and have been clamped to 0 or 255"
    assert told in evaluation.evaluate(Contestant("m", Bright(toy)), exam).record.notes
    assert "out of range" not in " ".join(evaluation.evaluate(Contestant("n", Lossy(toy)), exam).record.notes)


class Bookkeeper(Lossy):
    """Knows every sample by its row: returns the photograph to every question that should lead back to it."""

    def __init__(self, toy):
        super().__init__(toy)
        self.seen = {}

    def counterfactual(self, factual, interventions, generator=None):
        for i, row in enumerate(factual.index.tolist()):
            self.seen.setdefault(row, factual["image"][i].clone())
        answer = super().counterfactual(factual, interventions, generator)
        back = torch.stack([self.seen[row] for row in factual.index.tolist()])
        return {**answer, "image": back if factual.done or not interventions else answer["image"]}


def test_a_model_that_looks_for_the_row_is_told_that_it_gets_none(toy, exam):
    with pytest.raises(ModelError, match="not told which rows"):
        evaluation.evaluate(Contestant("m", Bookkeeper(toy)), exam)

    class Remembering(Lossy):
        def counterfactual(self, factual, interventions, generator=None):
            return {**super().counterfactual(factual, interventions), **factual.done}

    with pytest.raises(ModelError, match="not told what was set before"):
        evaluation.evaluate(Contestant("m", Remembering(toy)), exam)


def test_questions_of_different_kinds_look_alike(toy, exam):
    """What a model is given about a photograph names neither its row nor the kind of question."""
    seen = []

    class Curious(Lossy):
        def counterfactual(self, factual, interventions, generator=None):
            assert type(factual) is Samples
            seen.append((vars(factual), sorted(vars(generator))))
            return super().counterfactual(factual, interventions, generator)

    evaluation.evaluate(Contestant("m", Curious(toy)), exam)
    for given, chance in seen:
        assert given["_index"] is None
        assert given["_done"] == {}
        assert chance == ["_streams"]


def test_a_model_with_the_method_of_answers_from_files_is_not_told_the_question(toy, exam):
    class Sly(Lossy):
        def answer_question(self, question, given):
            raise AssertionError("it was told the question")

    assert values(Sly(toy), exam) == values(Lossy(toy), exam)


def test_baselines_are_told_the_rows_and_models_that_say_so_are_not(toy, exam):
    assert evaluation.evaluate(models.load("truth", exam.dataset), exam).record.numbers

    class Claiming(Bookkeeper):
        needs_rows = True

    with pytest.raises(ModelError, match="not told which rows"):
        evaluation.evaluate(Contestant("m", Claiming(toy)), exam)


class Lucky:
    """Perfect, and stochastic: where c is two, the image shows luck that nothing else does; it is drawn where it cannot be seen."""

    def __init__(self, toy):
        self.scm = toy.exact_scm()

    def counterfactual(self, factual, interventions, generator=None):
        answer = self.scm.counterfactual(factual, interventions)
        luck = normal((factual.count,), generator, torch.empty(0)).clamp(-2, 2) * 8
        shown = (answer["c"] == 2).float() - (factual["c"] == 2).float()
        return {**answer, "image": answer["image"].round() + (luck.round() * shown)[:, None, None, None]}


def test_a_perfect_model_that_draws_commutes_and_can_be_reversed(toy, exam):
    """All its answers about one photograph share the exogenous noise, as Pearl's counterfactuals do."""
    found = values(Lucky(toy), exam)
    numbers = {key: value for key, value in found.items() if key[0] in ("commutativity", "reversibility")}
    assert len(numbers) == 5
    assert set(numbers.values()) == {0}
    assert found["truth", "l1", "c", "", 0, "l1"] > 1


def test_draws_are_the_same_whatever_the_batch_size(toy, exam):
    whole = values(Lucky(toy), exam, batch_size=24)
    for size in (1, 7):
        assert values(Lucky(toy), exam, batch_size=size) == pytest.approx(whole, rel=1e-9)


def test_streams_do_not_keep_their_names():
    assert not hasattr(SampleNoise(0, ["row/3"]), "keys")


def flags(model, exam, **options):
    return evaluation.evaluate(Contestant("m", model), exam, **options).record.flags


class Steady(Lossy):
    """Its change of the image is one grey level, times a factor."""

    def factor(self, count):
        return 1.0

    def counterfactual(self, factual, interventions, generator=None):
        answer = super().counterfactual(factual, interventions, generator)
        return {**answer, "image": factual["image"] + self.factor(factual.count) * (answer["image"] - factual["image"])}


def test_a_model_that_answers_the_same_is_not_flagged(toy, exam):
    for model in (Steady(toy), Lucky(toy)):
        for size in (3, 24):
            assert asked_again.DEPENDS not in flags(model, exam, batch_size=size)


@pytest.mark.parametrize("size", [1, 8, 16, 24])
def test_answers_that_depend_on_the_batch_are_flagged(toy, exam, size):
    class ByBatch(Steady):
        def factor(self, count):
            return 1 / count

    (flag,) = flags(ByBatch(toy), exam, batch_size=size)
    assert flag.startswith("answers depend on")


def test_answers_that_depend_on_the_order_of_calls_are_flagged(toy, exam):
    class ByCall(Steady):
        calls = 0

        def factor(self, count):
            self.calls += 1
            return self.calls % 2

    assert flags(ByCall(toy), exam) == [asked_again.DEPENDS]


def test_answers_that_were_other_ones_when_they_were_judged_are_flagged(toy, exam):
    class Tiring(Steady):
        calls = 0

        def factor(self, count):
            self.calls += 1
            return float(self.calls < 15)

    assert flags(Tiring(toy), exam, batch_size=24) == [asked_again.DEPENDS]


def test_attributes_that_depend_on_the_batch_are_flagged(toy, exam):
    class ByBatch(Lossy):
        def counterfactual(self, factual, interventions, generator=None):
            answer = super().counterfactual(factual, interventions, generator)
            return {**answer, "b": answer["b"] + (0.01 if factual.count == 1 and not interventions else 0)}

    assert flags(ByBatch(toy), exam) == [asked_again.DEPENDS]


def test_a_small_accelerator_is_asked_again_in_halves(toy, exam):
    class Small(Lossy):
        def counterfactual(self, factual, interventions, generator=None):
            if factual.count > 3:
                raise torch.OutOfMemoryError("out of memory")
            return super().counterfactual(factual, interventions, generator)

    assert flags(Small(toy), exam, batch_size=3) == []


@pytest.mark.parametrize(
    ("said", "noise", "temperature"),
    [(None, "unknown", None), ("none", "none", None), (0.25, "declared", 0.25), (0, "declared", 0)],
)
def test_silence_about_pixel_noise_is_not_none(toy, exam, said, noise, temperature):
    model = Lossy(toy)
    if said is not None:
        model.pixel_temperature = said
    contestant = models.foreign("m", model)
    assert (contestant.pixel_noise, contestant.pixel_temperature) == (noise, temperature)
    record = evaluation.evaluate(contestant, exam).record
    assert (record.pixel_noise, record.pixel_temperature) == (noise, temperature)


def test_a_temperature_is_a_share(toy):
    model = Lossy(toy)
    for wrong in (2, "cold", True):
        model.pixel_temperature = wrong
        with pytest.raises(ConfigError, match="give a number from 0 to 1"):
            models.foreign("m", model)


def test_baselines_have_no_pixel_noise(exam):
    assert models.load("identity", exam.dataset).pixel_noise == "none"


class Blurry(Linear):
    """Its abduction draws: the error is inferred up to chance."""

    stochastic_abduction = True
    asked = 0

    def abduct(self, value, parents, generator=None):
        self.asked += 1
        noise = super().abduct(value, parents, generator)
        return {"e": noise["e"] + 0.1 * normal(tuple(noise["e"].shape), generator, noise["e"])}


def drawing(toy):
    """The toy's causal model with an abduction of a that draws."""
    scm = toy.exact_scm(keep=0.83)
    root = Blurry(scm.variables["a"], [], 0.0, 1 / 4).requires_grad_(False)
    return StructuralCausalModel(scm.graph, [root, *(scm.mechanisms[name] for name in ("b", "c", "image"))]), root


def test_a_photograph_is_abducted_once_and_no_number_moves(toy):
    names = ["composition", "reversibility", "commutativity", "truth", "abduction"]
    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=names, limit=24)
    scm, root = drawing(toy)

    class Three:
        """The same model, whose abduction nobody shares."""

        counterfactual, abduct, sample_noise = scm.counterfactual, scm.abduct, scm.sample_noise

    asked = []
    found = []
    for model in (scm, Three()):
        root.asked = 0
        taking = taking_module.Taking(
            "m", Contestant("m", model), exam.make_metrics(Contestant("m", model)), None, "key"
        )
        session.examine(exam, [taking])
        asked.append(root.asked)
        found.append([(repr(column.cell), column.value.tolist()) for column in taking.columns()])
    assert found[0] == found[1]
    assert asked == [1 + 9 + 3 + 4, 1 + 10 + 3 + 3 + 4]


def test_the_cost_of_an_answer_has_its_abduction(toy, monkeypatch):
    """A shared abduction counts in every question."""
    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["cost"], limit=24)
    scm, _ = drawing(toy)
    layer = torch.nn.Linear(1, 1)
    passed = {"abduct": 3, "generate": 2}
    for name, count in passed.items():
        original = getattr(scm, name)

        def counting(*args, original=original, count=count, **options):
            for _ in range(count):
                layer(torch.zeros(24, 1))
            return original(*args, **options)

        monkeypatch.setattr(scm, name, counting)
    contestant = Contestant("m", scm)
    taking = taking_module.Taking("m", contestant, exam.make_metrics(contestant), None, "key")
    taking.__dict__["networks"] = [layer]
    session.examine(exam, [taking])
    evaluations = {
        c.cell.intervened: c.value.unique().tolist() for c in taking.columns() if c.cell.quantity == "evaluations"
    }
    assert evaluations
    assert all(value == [5] for value in evaluations.values())


@pytest.mark.parametrize(("keep", "nulls"), [(1.0, 1), (0.5, 6)])
def test_a_null_intervention_that_returned_its_input_is_not_asked_again(toy, exam, keep, nulls):
    """The next one would be the same question. Of a model that halves the noise, six are asked: then there is less than half a grey level left."""
    scm, seen = toy.exact_scm(keep=keep), []

    class Counting(StructuralCausalModel):
        def abduct(self, values, generator=None):
            seen.append(len(values["image"]))
            return super().abduct(values, generator)

    evaluation.evaluate(Contestant("m", Counting(scm.graph, scm.mechanisms.values())), exam)
    everyone = len(exam.plan.index)  # a few of them are asked again afterwards
    follow = sum(question.follows is not None and question.kind != "null" for question in exam.plan.questions)
    assert seen.count(everyone) == nulls + follow
