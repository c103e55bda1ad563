import asked
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as reference

from counterbench.causal.samples import Samples
from counterbench.causal.variables import Binary, Image
from counterbench.judges import Reading
from counterbench.metrics.answers import Answers, Batch, Instruments
from counterbench.metrics.base import Setting
from counterbench.metrics.statistics.classification import auroc, balanced_accuracy, f1_parts
from counterbench.plans.question import Question
from counterbench.plugins import registry
from counterbench.records.intervals import Ratios


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def setting(dataset):
    return asked.setting(dataset)


labels = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(0, 1)),
        arrays(np.float64, n, elements=st.sampled_from(np.linspace(0, 1, 9))),
    )
)


@given(labels)
def test_statistics_of_a_binary_judge_are_those_of_scikit_learn(drawn):
    """Over the whole set, ties included; not averaged over batches (defect 11 of the anchor)."""
    target, score = drawn
    named = (score > 0.5).astype(int)
    if len(set(target)) < 2:
        assert np.isnan(auroc(target, score)[0]).all()
        assert np.isnan(balanced_accuracy(target, named)[0]).all()
        return
    for (numerator, weight), exact in (
        (auroc(target, score), reference.roc_auc_score(target, score)),
        (balanced_accuracy(target, named), reference.balanced_accuracy_score(target, named)),
    ):
        assert numerator.sum() / weight.sum() == pytest.approx(exact)
        # As many samples as two classes of equal size that are known as well as these.
        assert weight.sum() == pytest.approx(4 / (1 / target.sum() + 1 / (1 - target).sum()))
    numerator, denominator = f1_parts(target, named)
    if denominator.sum():
        assert numerator.sum() / denominator.sum() == pytest.approx(reference.f1_score(target, named, zero_division=0))


def test_the_spread_of_pseudo_values_is_that_of_a_bootstrap():
    rng = np.random.default_rng(0)
    target = (rng.random(300) < 0.2).astype(int)
    score = rng.normal(size=300) + target
    named = (score > 0.5).astype(int)
    for statistic, exact in (
        (lambda t, s, n: auroc(t, s), lambda t, s, n: reference.roc_auc_score(t, s)),
        (lambda t, s, n: balanced_accuracy(t, n), lambda t, s, n: reference.balanced_accuracy_score(t, n)),
    ):
        drawn = []
        for _ in range(600):
            rows = rng.integers(300, size=300)
            drawn.append(exact(target[rows], score[rows], named[rows]))
        numerator, weight = statistic(target, score, named)
        influence = Ratios(numerator[:, None], weight[:, None]).influence()
        spread = np.sqrt(np.square(influence).sum())
        assert spread == pytest.approx(np.std(drawn), rel=0.12)


def binary_answers(probabilities, targets, size):
    """A binary variable k, read off by two judges, in batches."""
    variables = {"k": Binary("k"), "image": Image("image", 1, 1, 1)}
    from counterbench.causal.graph import CausalGraph

    graph = CausalGraph({"k": (), "image": ("k",)})
    known = Setting(graph, variables, "image", ("k",), ("k",), 0, (), ensembles=("k",))

    def measure(images):
        p = images[:, 0, 0, 0]
        return {
            "k": Reading(
                torch.stack([torch.stack([1 - q, q], 1) for q in ((p + 0.1).clamp(max=1), (p - 0.1).clamp(min=0))])
            )
        }

    def batches():
        for rows in torch.arange(len(targets)).split(size):
            factual = Samples({"k": 1 - targets[rows], "image": torch.zeros(len(rows), 1, 1, 1)}, rows)
            batch = Batch(factual, "image", instruments=Instruments(measure))
            values = {"k": targets[rows], "image": probabilities[rows].view(-1, 1, 1, 1)}
            should = {**values, "image": factual["image"]}
            yield Answers(batch, Question("single", rows, "k", targets[rows]), values, targets=should)

    return known, batches


@pytest.mark.parametrize("size", [7, 100])
def test_binary_variables_have_their_own_statistics(size):
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(100, generator=generator) < 0.1).long()  # a rare class, like a bald head
    probabilities = (0.15 + 0.5 * torch.rand(100, generator=generator) + 0.2 * targets).clamp(0.1, 0.9)
    known, batches = binary_answers(probabilities, targets, size)
    found = {column.cell.quantity: column.point() for column in asked.computed("effectiveness", known, batches())}
    named = (probabilities > 0.5).long()
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(targets, named))
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(targets, named))
    assert found["auroc"] == pytest.approx(reference.roc_auc_score(targets, probabilities))
    assert found["f1"] == pytest.approx(reference.f1_score(targets, named))
    assert found["judges_spread"] == pytest.approx(0.1, abs=1e-6)
    agree = ((probabilities + 0.1 > 0.5) == (probabilities - 0.1 > 0.5)).float().mean()
    assert found["judges_agreement"] == pytest.approx(float(agree))


def test_by_hand(dataset, setting):
    """An image whose a is off by exactly 0.3 has an error of 0.3 in the cell of a and nowhere else."""

    def off(factual, held, truth):
        from toy import patterns

        return {**truth, "image": truth["image"] + (12 * 0.3 * patterns()[0].view(1, 1, 8, 8)).float()}

    found = asked.points("effectiveness", setting, dataset, off)
    assert found["absolute_error", "b", "a", 0] == pytest.approx(0.3, abs=1e-4)
    assert found["absolute_error", "b", "b", 0] == pytest.approx(0, abs=1e-4)
    assert found["accuracy", "b", "c", 0] == 1


@pytest.mark.parametrize(("painted", "expected"), [(0.5, 0.5), (0.0, 0.0)])
def test_the_target_is_the_true_attribute_and_not_the_claimed_one(painted, expected, dataset, setting):
    """A model that claims 0.5 too much of b under do(a): wrong if its image shows that, right if the image shows the truth."""

    def claims(factual, held, truth):
        from toy import patterns

        shift = (12 * painted * patterns()[1].view(1, 1, 8, 8)).float()
        return {**truth, "b": truth["b"] + (0.5 if "a" in held else 0), "image": truth["image"] + shift}

    found = asked.points("effectiveness", setting, dataset, claims)
    assert found["absolute_error", "a", "b", 0] == pytest.approx(expected, abs=1e-4)
    floor = asked.points("effectiveness", setting, dataset, asked.unchanged)["absolute_error", "a", "b", 0]
    assert found["skill", "a", "b", 0] == pytest.approx(1 - expected / floor, abs=1e-3)


def test_a_skill_is_shown_only_where_the_attribute_should_change(setting):
    cells = registry.metrics.get("effectiveness")(setting).cells
    skills = {(c.intervened, c.measured) for c in cells if c.quantity == "skill"}
    assert skills == {("a", "a"), ("a", "b"), ("b", "b"), ("c", "c")}


def test_an_off_target_change_by_hand(dataset, setting):
    """b moves by 0.5 under do(c): 0.5 / std(b); a stays; the mean is half of it."""

    def pulls_b_along(factual, held, truth):
        from toy import patterns

        shift = (12 * 0.5 * patterns()[1].view(1, 1, 8, 8)).float() if "c" in held else 0
        return {**truth, "image": truth["image"] + shift}

    found = asked.points("off_target", setting, dataset, pulls_b_along)
    assert found["change", "c", "b", 0] == pytest.approx(0.5 / setting.spread["b"], rel=1e-4)
    assert found["change", "c", "a", 0] == pytest.approx(0, abs=1e-5)
    assert found["mean_change", "c", "", 0] == pytest.approx(0.25 / setting.spread["b"], rel=1e-4)
