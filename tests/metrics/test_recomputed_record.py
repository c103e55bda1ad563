"""The numbers of a record against their re-computation: a model is asked, its answers are rounded, fed back and judged, twice."""

import dataclasses

import numpy as np
import pytest
import torch
import toy
from metrics import answered, recomputed, recomputed_judges, recomputed_sets

from counterbench import evaluation
from counterbench.causal.samples import Samples
from counterbench.evaluation.batches import Shared, SharedBatch
from counterbench.models.model import Contestant

pytestmark = pytest.mark.usefixtures("cache_of_module")

RECOGNISED = {"recogniser": "toy-residual"}
METRICS = {
    "composition": {},
    "reversibility": {},
    "commutativity": {},
    "effectiveness": {},
    "off_target": {},
    "truth": {},
    "dose_response": {},
    "realism": {"spaces": ["pixel"]},
    "rung2": {"spaces": ["pixel"]},
    "recognition": RECOGNISED,
    "estimate": RECOGNISED,
}


class PartlyHidden(toy.Toy):
    """The toy, where nobody knows what do(b) does."""

    def knows_truth(self, intervened):
        return "b" not in intervened


class Loud:
    """The toy's own model, which forgets some noise and is too bright: pixels are fractions, and some out of range."""

    def __init__(self):
        self.scm = toy.exact_scm(0.8)

    def counterfactual(self, factual, interventions, generator=None):
        answer = dict(self.scm.counterfactual(factual, interventions, generator))
        if "a" in interventions:
            answer["b"] = answer["b"] + 0.125
        return {**answer, "image": answer["image"] * 1.2}


class Silent(Loud):
    def can_answer(self, intervened):
        return "c" not in intervened


@pytest.fixture(scope="module")
def exam():
    standard = evaluation.prepare(PartlyHidden(), "standard", device="cpu").suite
    suite = standard.model_copy(update={"metrics": METRICS, "resamples": 200, "cycles": 3})
    return evaluation.prepare(PartlyHidden(), suite, device="cpu", limit=40)


@pytest.fixture(scope="module")
def results(exam):
    return {kind: evaluation.evaluate(Contestant("m", kind()), exam) for kind in (Loud, Silent)}


@pytest.fixture(scope="module")
def batch(exam):
    """What the exam draws, for a definition cannot say how the dice fall: perturbations, and which real images are matched."""
    return SharedBatch(Shared(exam), torch.arange(len(exam.plan.index)))


def questions(exam, model, batch):
    """Every question of the plan put to the model once more, as arrays."""
    rows, dataset, answers = exam.plan.index, exam.dataset, {}
    split = dataset.split("test")
    factual = split.take(rows)
    for question in exam.plan.questions:
        given = factual if question.follows is None else answers[question.follows.name]
        held = dict(question.held)
        answer = model.counterfactual(Samples(given), held)
        answers[question.name] = {**answer, **held, "image": answer["image"].round().clamp(0, 255)}
        if question.kind == "pair" and question.swaps is None:
            continue  # judged beside the other order, which comes after it
        known = question.kind == "single" and dataset.knows_truth(question.intervened)
        true = dataset.truth("test", rows, held) if known else {**factual, **held}
        yield recomputed.Asked(
            question.kind,
            (question.variable,) if question.kind == "return" else (question.swaps or question).intervened,
            question.cycle,
            split.group[rows].numpy(),
            factual=answered.arrays(factual),
            answer=answered.arrays(answers[question.name]),
            null=answered.arrays(answers["null/1"]),
            held=answered.arrays(held),
            targets=answered.arrays(true),
            truth=answered.arrays(true) if known else {},
            other=answered.arrays(answers[question.swaps.name]) if question.swaps else {},
            **(matched(batch.matched(question.variable)) if question.kind == "single" else {}),
        )


def matched(view):
    return {"matched": view.images.double().numpy(), "matched_unit": view.group.numpy()}


@pytest.fixture(scope="module")
def asked(exam, batch):
    return list(questions(exam, Loud(), batch))


@pytest.fixture(scope="module")
def world(exam, batch):
    def shake(images):
        return batch.shake(torch.from_numpy(images).float()).double().numpy()

    def features(space, images):
        if space == "pixel":
            return (images.reshape(len(images), -1).astype(np.float32) / 255).astype(float)
        flat, shapes = images.reshape(len(images), -1) - 128, toy.patterns().numpy()
        rest = flat - flat @ shapes.T / np.square(shapes).sum(1) @ shapes
        return rest / np.linalg.norm(rest, axis=1, keepdims=True)

    return dataclasses.replace(answered.toy_world(exam.dataset), panels=(), shake=shake, features=features)


def key(number):
    return number.quantity, number.intervened, number.measured, number.cycles, number.space


@pytest.mark.parametrize("name", METRICS)
def test_values_of_a_record(name, results, asked, world):
    (again,) = (getattr(part, name) for part in (recomputed, recomputed_judges, recomputed_sets) if hasattr(part, name))
    if name in ("truth", "dose_response", "rung2"):
        asked = [one for one in asked if one.kind != "single" or one.truth]
    known = {"realism": {"space": "pixel"}, "rung2": {"spaces": ["pixel"]}}.get(name, {})
    definition = again(asked, world, **known)
    record = {key(n): n.value for n in results[Loud].record.numbers if n.metric == name}
    absolute = 1e-7 if known else 1e-9  # square roots of eigenvalues that are 0 but for rounding
    assert record == {k: pytest.approx(v, rel=1e-6, abs=absolute) for k, v in definition.items()}


@pytest.mark.parametrize(("kind", "answered_to"), [(Loud, "abc"), (Silent, "ab")])
def test_row_skill(kind, answered_to, results, asked, world):
    """By the truth, where it is known; do(b) by the estimate; an intervention without an answer counts -1."""
    estimate = recomputed_sets.estimate(asked, world)
    errors, nothing = {}, {}
    for one in asked:
        if one.kind != "single" or one.words not in answered_to:
            continue
        if one.truth:
            errors[one.words], nothing[one.words] = (
                recomputed.grey_levels(values["image"], one.truth["image"]).sum()
                for values in (one.answer, one.factual)
            )
        else:
            nothing[one.words] = world.typical_change[one.words]
            errors[one.words] = nothing[one.words] * (1 - estimate["estimated_skill", one.words, "", 0, ""])
    value = recomputed.row_skill(errors, nothing, ["a", "b", "c"])
    assert results[kind].record.row_skill.value == pytest.approx(value, rel=1e-6)
