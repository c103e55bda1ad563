"""Metrics on tensors are those of an evaluation."""

import pytest
import torch

from counterbench import evaluation, numbers_of
from counterbench.causal.variables import Categorical, Continuous, Image
from counterbench.errors import ConfigError, UnknownNameError
from counterbench.metrics import (
    Commutativity,
    Composition,
    DoseResponse,
    Effectiveness,
    Minimality,
    MultiScaleSimilarity,
    OffTarget,
    PercentageError,
    Realism,
    Reversibility,
    Truth,
)
from counterbench.metrics.abduction import Abduction
from counterbench.metrics.memorisation import Memorisation
from counterbench.models.model import Contestant

NAMES = {
    "commutativity": Commutativity,
    "composition": Composition,
    "dose_response": DoseResponse,
    "effectiveness": Effectiveness,
    "off_target": OffTarget,
    "percentage_error": PercentageError,
    "reversibility": Reversibility,
    "truth": Truth,
}


class Blurred:
    """Brings about nine tenths of what it should."""

    def __init__(self, toy):
        self.scm = toy.exact_scm(keep=0.9)

    def counterfactual(self, factual, interventions, generator=None):
        return self.scm.counterfactual(factual, interventions, generator)


@pytest.fixture(scope="module")
def asked(toy):
    """An exam with its record, everything that was asked and answered, and what is there to make metrics of."""
    dataset = toy.Toy()
    exam = evaluation.prepare(dataset, "standard", device="cpu", metrics=list(NAMES))
    model = Blurred(toy)
    record = evaluation.evaluate(Contestant("blurred", model, title="", pixel_noise="none"), exam).record
    return dataset, exam, model, record


def on_tensors(metric, dataset, exam, **more):
    judges = {name: (lambda images, panel=panel: panel.measure(images).value) for name, panel in exam.panels.items()}
    real = dict(dataset.split("train").values)
    graph = {name: dataset.graph.parents(name) for name in dataset.graph}
    cycles = exam.plan.cycles
    return metric.on(
        list(dataset.variables.values()), graph, judges=judges, real=real, truth=True, cycles=cycles, **more
    )


def answered(question, factual, answers, model):
    """Natural values after a question, and those that it was asked about."""
    before = factual if question.follows is None else answers[question.follows.name]
    return model.counterfactual(before, question.held)


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_are_those_of_an_evaluation(asked, name):
    dataset, exam, model, record = asked
    metric = on_tensors(NAMES[name], dataset, exam)
    factual = dataset.split("test").take(exam.plan.index)
    answers = {}
    null = None
    for question in exam.plan.questions:
        values = answered(question, factual, answers, model)
        values = {**values, "image": values["image"].round().clamp(0, 255)}
        answers[question.name] = values
        if question.name == "null/1":
            null = values
    for question in exam.plan.questions:
        known = {"null": null, "rows": exam.plan.index}
        values, held = answers[question.name], question.held
        if question.kind in ("single", "joint"):
            truth = dataset.truth("test", exam.plan.index, held)
            metric.update(factual, values, held, truth=truth, **known)
        elif question.kind == "null":
            metric.update(factual, values, {}, cycle=question.cycle, **known)
        elif question.kind == "return":
            metric.update(factual, values, held, taken_back=True, **known)
        elif question.kind == "pair" and question.swaps is not None:
            both = {**question.follows.held, **held}  # in the order in which these answers came about
            metric.update(factual, values, both, exchanged=answers[question.swaps.name], **known)
    expected = {number.key: number for number in record.numbers if number.metric == name}
    found = {column.cell.key_of(name): column.point() for column in metric.columns()}
    assert found
    shared = found.keys() & expected.keys()
    assert {key for key, number in expected.items() if not number.detail} <= shared
    for key in shared:
        assert found[key] == pytest.approx(expected[key].value, rel=1e-6, abs=1e-9), key
    rows = {
        (row["quantity"], row["intervened"], row["measured"], row["cycles"]): row
        for row in numbers_of(metric, group=dataset.split("test").group, resamples=1000)
    }
    headline = next(key for key in shared if expected[key].low is not None)
    row = rows[headline[1], headline[2], headline[3], headline[4]]
    assert row["low"] <= row["value"] <= row["high"]


SQUARE = [Continuous("level", 0, 255), Categorical("kind", ("a", "b")), Image("image", 1, 4, 4)]
GRAPH = {"image": ["level"]}


def grey(*levels):
    return torch.tensor(levels)[:, None, None, None].expand(-1, 1, 4, 4).clone()


@pytest.fixture
def factual():
    return {"level": torch.tensor([50.0, 80.0]), "kind": torch.tensor([0, 1]), "image": grey(50.0, 80.0)}


@pytest.fixture
def effectiveness():
    return Effectiveness.on(SQUARE, GRAPH, judges={"level": lambda images: images.mean((1, 2, 3))})


def test_batches_are_put_together_and_forgotten(effectiveness, factual):
    wanted = {"level": torch.tensor([100.0, 100.0])}
    effectiveness.update(factual, {"image": grey(100.0, 90.0)}, wanted)
    effectiveness.update(factual, {"image": grey(100.0, 70.0)}, wanted)
    assert effectiveness.compute()["do(level): absolute_error of level"] == 10.0
    (column,) = [one for one in effectiveness.columns() if one.cell.quantity == "absolute_error"]
    assert column.index.tolist() == [0, 1, 2, 3]
    effectiveness.reset()
    assert effectiveness.compute() == {}
    assert numbers_of(effectiveness) == []


def test_several_judges_are_a_panel(factual):
    judges = [lambda images, by=by: images.mean((1, 2, 3)) + by for by in (-2.0, 3.0, 10.0)]
    metric = Effectiveness.on(SQUARE, GRAPH, judges={"level": judges})
    metric.update(factual, {"image": grey(100.0, 100.0)}, {"level": torch.tensor([100.0, 100.0])})
    found = metric.compute()
    assert found["do(level): absolute_error of level"] == 3.0
    assert found["do(level): judges_spread of level"] > 4


def test_realism_takes_matched_images_and_minimality_the_truth(factual):
    from counterbench.features.pixel import Pixel

    generator = torch.Generator().manual_seed(0)
    drawn = [(torch.rand(40, 1, 4, 4, generator=generator) * 200).round() for _ in range(2)]
    many = {"level": torch.full((40,), 100.0), "kind": torch.zeros(40, dtype=torch.long), "image": drawn[0]}
    metric = Realism.on(SQUARE, GRAPH, spaces={"mine": Pixel()})
    metric.update(many, {"image": drawn[0]}, {"level": many["level"]}, matched=drawn[1])
    found = metric.compute()
    assert found["do(level): frechet_distance (mine)"] > 0
    assert found["do(level): coverage (mine)"] > 0.5
    with pytest.raises(ConfigError, match="can say nothing here"):
        Realism.on(SQUARE, GRAPH)
    minimal = Minimality.on(SQUARE, GRAPH, truth=True)
    minimal.update(factual, {"image": grey(60.0, 90.0)}, {"level": factual["level"]}, truth={"image": grey(54.0, 84.0)})
    assert minimal.compute() == {"do(level): excess_change": 6.0}


@pytest.mark.parametrize(
    ("answers", "interventions", "more", "said"),
    [
        ({"image": grey(0.1, 0.9)}, {"level": torch.ones(2)}, {}, "Grey levels are 0 to 255"),
        ({"image": grey(1.0)}, {}, {}, "has 1 samples, and factual has 2"),
        ({"image": torch.zeros(2, 3, 4, 4)}, {}, {}, "its variable says [N, 1, 4, 4]"),
        ({}, {}, {}, "answers lacks the image 'image'"),
        ({"image": grey(1.0, 200.0)}, {"level": 3.0}, {}, "give a tensor with one row per sample"),
        ({"image": grey(float("nan"), 200.0)}, {}, {}, "not finite"),
        (
            {"image": grey(1.0, 200.0)},
            {"level": torch.ones(2)},
            {"exchanged": {"image": grey(1.0, 200.0)}},
            "exchanged with two",
        ),
        ({"image": grey(1.0, 200.0)}, {}, {"taken_back": True}, "taken_back goes with one"),
        ({"image": grey(1.0, 200.0)}, {"level": torch.ones(2, 1)}, {}, "give one number per sample"),
        ({"image": grey(1.0, 200.0)}, {"level": torch.ones(2)}, {"rows": torch.arange(3)}, "rows has 3 numbers"),
    ],
)
def test_a_mistake_is_told(effectiveness, factual, answers, interventions, more, said):
    with pytest.raises(ConfigError) as error:
        effectiveness.update(factual, answers, interventions, **more)
    assert said in str(error.value)


def test_unknown_names_and_metrics_that_need_more_are_told(effectiveness, factual):
    with pytest.raises(UnknownNameError, match="Did you mean 'level'"):
        effectiveness.update(factual, {"image": grey(1.0, 200.0)}, {"levle": torch.ones(2)})
    with pytest.raises(UnknownNameError, match="levle"):
        Effectiveness.on(SQUARE, {"image": ["levle"]})
    with pytest.raises(ConfigError, match="watches a model at work"):
        Abduction.on(SQUARE, GRAPH)
    with pytest.raises(ConfigError, match="can say nothing here"):
        Effectiveness.on(SQUARE, GRAPH)
    with pytest.raises(ConfigError):
        Memorisation.on(SQUARE, GRAPH)
    with pytest.raises(ConfigError, match="2 images"):
        Composition.on([Image("one", 1, 4, 4), Image("two", 1, 4, 4)], {})


def test_similarity_in_several_scales_needs_an_image_alone():
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(3, 1, 64, 64, generator=generator) * 255).round()
    variables = [Continuous("level", 0, 1), Image("image", 1, 64, 64)]
    metric = MultiScaleSimilarity.on(variables, {"image": ["level"]}, truth=True)
    factual = {"level": torch.zeros(3), "image": images}
    metric.update(factual, {"image": images}, {"level": torch.ones(3)}, truth={"image": images})
    assert all(value == pytest.approx(1) for value in metric.compute().values())


def test_a_judge_of_another_shape_is_refused(factual):
    """(N, 1) against (N,) would be compared everybody with everybody."""
    column = Effectiveness.on(SQUARE, GRAPH, judges={"level": lambda images: images.mean((2, 3))})
    with pytest.raises(ConfigError, match=r"The judge of 'level' gives the shape \[2, 1\]"):
        column.update(factual, {"image": grey(100.0, 90.0)}, {"level": torch.tensor([100.0, 90.0])})
    named = Effectiveness.on(SQUARE, GRAPH, judges={"kind": lambda images: images.mean((1, 2, 3)).long()})
    with pytest.raises(ConfigError, match="must give 2 probabilities per image"):
        named.update(factual, {"image": grey(100.0, 90.0)}, {"kind": torch.tensor([0, 0])})


def test_what_is_missing_is_told_instead_of_nothing(factual):
    judges = {"level": lambda images: images.mean((1, 2, 3))}
    with pytest.raises(ConfigError, match="OffTarget measures by how widely 'level' varies"):
        OffTarget.on(SQUARE, GRAPH, judges=judges)
    with pytest.raises(ConfigError, match="compares with real images"):
        Realism.on(SQUARE, GRAPH, reference="train")
    with pytest.raises(ConfigError, match="curv"):
        Composition.on(SQUARE, GRAPH, curv=True)
    with pytest.raises(ConfigError, match="given twice"):
        Composition.on([SQUARE[0], *SQUARE], GRAPH)
    composition = Composition.on(SQUARE, GRAPH)
    assert composition.compute() == {}
    composition.update(factual, {"image": grey(1.0, 200.0)}, {}, cycle=3)
    with pytest.raises(ConfigError, match="more cycles than the 1"):
        composition.compute()
    truth = Truth.on(SQUARE, GRAPH, truth=True)
    truth.update(factual, {"image": grey(1.0, 200.0)}, {"level": torch.ones(2)})
    with pytest.raises(ConfigError, match="may need truth="):
        truth.compute()
    none = {name: value[:0] for name, value in factual.items()}
    with pytest.raises(ConfigError, match="no samples"):
        composition.update(none, {"image": none["image"]}, {})
    composition.update(factual, {"image": grey(1.0, 200.0)}, {})
    with pytest.raises(ConfigError, match="group must be a tensor"):
        numbers_of(composition, group=torch.zeros(1))
