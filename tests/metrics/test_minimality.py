"""Counterfactual latent divergence against a slow transcription of its formula."""

import math

import asked
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Independent, Normal, kl_divergence

from counterbench.causal.variables import Categorical, Continuous
from counterbench.metrics.minimality import Neighbourhood, cld, of_identity
from counterbench.metrics.references import Grouping
from counterbench.networks.normal import normal_divergence


def posteriors(count, latent=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(count, latent, generator=generator)
    return torch.cat([mean, 0.3 * torch.randn(count, latent, generator=generator) - 1], 1)


def normal(row):
    mean, log_scale = row.double().chunk(2)
    return Independent(Normal(mean, log_scale.exp()), 1)


def test_divergence_reads_the_scales():
    """Defect 1 of the anchor: the mean was read as the log-scale, and the scale never."""
    a, b = posteriors(1, seed=1)[0], posteriors(1, seed=2)[0]
    mean, log_scale = b.double()[None].chunk(2, 1)
    own = normal_divergence(*a.double()[None].chunk(2, 1), other_mean=mean, other_log_scale=log_scale)
    assert float(own) == pytest.approx(float(kl_divergence(normal(a), normal(b))))
    wider = torch.cat([b[:3], b[3:] + 1])
    assert float(kl_divergence(normal(a), normal(wider))) != pytest.approx(float(own))


@given(st.integers(0, 50), st.booleans())
def test_shares_are_their_definition(seed, below):
    references, queries = posteriors(40, seed=seed), posteriors(6, seed=seed + 1000)
    rng = np.random.default_rng(seed)
    groups, asked_groups = torch.from_numpy(rng.integers(4, size=40)), torch.from_numpy(rng.integers(5, size=6))
    divergence = torch.from_numpy(rng.gamma(3, 3, 6))
    found = Neighbourhood(references, groups).share(queries, asked_groups, divergence, below)
    for i in range(6):
        distances = [
            float(kl_divergence(normal(references[j]), normal(queries[i])))
            for j in range(40)
            if groups[j] == asked_groups[i]
        ]
        if not distances:
            assert found[i].isnan()
            continue
        hits = [d <= divergence[i] if below else d >= divergence[i] for d in distances]
        assert float(found[i]) == pytest.approx(np.mean(hits))


def test_latent_divergence_by_hand():
    assert float(cld(torch.tensor([0.0]), torch.tensor([1.0]), (0.8, 0.2))) == pytest.approx(0.2954, abs=1e-4)
    assert of_identity((1, 1)) == pytest.approx(1.3133, abs=1e-4)
    assert float(cld(torch.tensor([0.5]), torch.tensor([0.5]), (0.8, 0.2))) == pytest.approx(0.5)
    assert float(cld(torch.tensor([0.0]), torch.tensor([0.0]), (0.8, 0.2))) == pytest.approx(0)


def test_the_metric_is_its_formula_on_the_toy(toy):
    """All of it, sample by sample: groups by the intervened variable alone (defect 2), references from training (defect 3)."""
    dataset = toy.Toy()
    known = asked.setting(dataset)
    space = known.spaces["posterior"]
    train = dataset.split("train")
    seen = space.extract(train.values["image"])
    batches = list(asked.answers(dataset, asked.halfway, [torch.arange(8)]))
    columns = {
        c.cell.intervened: c for c in asked.computed("minimality", known, batches) if c.cell.quantity == "cld_0.8_0.2"
    }
    for answers in (one for one in batches if one.kind == "single"):
        (name,) = answers.intervened
        values = train.values[name]
        if name == "c":
            cell = lambda v: int(v)  # noqa: E731
        else:
            edges = np.quantile(values.double(), np.arange(1, 10) / 10)
            cell = lambda v, edges=edges: int(np.searchsorted(edges, float(v), side="right"))  # noqa: E731
        groups = [cell(v) for v in values]
        own, made = (space.extract(images) for images in (answers.factual["image"], answers.values["image"]))
        column = columns[name]
        for i in range(8):
            div = float(kl_divergence(normal(made[i]), normal(own[i])))
            target, source = cell(answers.wanted[name][i]), cell(answers.factual[name][i])
            to_target = [
                float(kl_divergence(normal(seen[j]), normal(own[i]))) for j in range(400) if groups[j] == target
            ]
            to_source = [
                float(kl_divergence(normal(seen[j]), normal(own[i]))) for j in range(400) if groups[j] == source
            ]
            if not to_target or not to_source:
                assert i not in column.index
                continue
            p1, p2 = np.mean([d <= div for d in to_target]), np.mean([d >= div for d in to_source])
            expected = math.log(0.8 * math.exp(p1) + 0.2 * math.exp(p2))
            assert float(column.value[column.index == i]) == pytest.approx(expected, abs=1e-9)


def test_groups_are_classes_or_tenths_of_the_training_values():
    """Defects 3 and 21 of the anchor: colliding codes, means used as edges."""
    tenths = Grouping.of(Continuous("v", -1, 2), torch.linspace(0, 1, 101))
    assert tenths(torch.tensor([0.0, 0.05, 0.1, 0.55, 0.999, 1.0, -3.0, 9.0])).tolist() == [0, 0, 1, 5, 9, 9, 0, 9]
    whole = Grouping.of(Continuous("v", 0, 10), torch.arange(11.0))
    assert whole(torch.tensor([1.0, 5.0, 10.0])).tolist() == [
        1,
        5,
        9,
    ]  # an edge belongs to the upper tenth, as in the plan
    classes = Grouping.of(Categorical("v", ("x", "y", "z")), torch.tensor([0, 1, 2]))
    assert classes(torch.tensor([2, 0, 1])).tolist() == [2, 0, 1]


def test_every_tenth_has_as_many_references_however_skewed_the_values():
    values = torch.from_numpy(np.random.default_rng(0).lognormal(0, 1.5, 5000))
    counts = Grouping.of(Continuous("v", 0, 1e4), values)(values).bincount()
    assert counts.tolist() == [500] * 10
    tied = torch.cat([torch.zeros(50), torch.arange(1.0, 51)])  # half of all values are equal: one cell
    assert Grouping.of(Continuous("v", 0, 50), tied)(tied).bincount().max() == 50


def columns_of(toy, answer):
    dataset = toy.Toy()
    batches = asked.answers(dataset, answer, [asked.untied(dataset, 40)])
    return {
        (c.cell.quantity, c.cell.intervened): c for c in asked.computed("minimality", asked.setting(dataset), batches)
    }


def test_answers_nearer_than_every_real_image_are_saturated_and_not_ranked(toy):
    found = columns_of(toy, asked.unchanged)
    for name in asked.NAMES:
        assert found["saturated", name].point() == 1
        assert "saturated" in found["cld_0.8_0.2", name].no_rank
        assert found["excess_change", name].no_rank == ""
    changed = columns_of(toy, asked.true)
    assert any(
        column.point() < 0.5 and not changed["cld_1_1", name].no_rank
        for (quantity, name), column in changed.items()
        if quantity == "saturated"
    )
    for (quantity, name), column in changed.items():
        if quantity == "saturated":
            closer_and_farther = changed["cld_0.8_0.2", name].value
            assert torch.equal(
                column.value == 1, torch.isclose(closer_and_farther, torch.tensor(of_identity((0.8, 0.2))).double())
            )


def test_too_much_for_one_does_not_make_up_for_too_little_for_another(toy):
    def uneven(given, held, truth):
        share = torch.tensor([0.0, 2.0]).repeat(len(truth["image"]) // 2)[:, None, None, None]
        return {**truth, "image": given["image"] + share * (truth["image"] - given["image"])}

    exact, spoilt = columns_of(toy, asked.true), columns_of(toy, uneven)
    assert exact["excess_change", "a"].point() == 0
    assert spoilt["excess_change", "a"].point() == pytest.approx(
        columns_of(toy, asked.unchanged)["excess_change", "a"].point(), rel=0.4
    )


def test_references_are_extracted_once_and_kept(toy, tmp_path, monkeypatch):
    from counterbench.metrics.references import References

    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path))
    calls = []

    class Counting(asked.ToyPosterior):
        def _extract(self, images):
            calls.append(len(images))
            return super()._extract(images)

    first = References(toy.Toy()).features(Counting())
    assert sum(calls) == 400
    again = References(toy.Toy()).features(Counting())
    assert sum(calls) == 400
    assert torch.equal(first, again)
    (stored,) = (tmp_path / "features").iterdir()
    stored.write_bytes(stored.read_bytes()[:100])  # a truncated cache is made anew
    assert torch.equal(References(toy.Toy()).features(Counting()), first)
