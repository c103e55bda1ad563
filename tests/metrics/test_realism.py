"""Frechet distance, kernel distance, precision, recall, density, coverage: against reference implementations."""

import inspect
import warnings

import asked
import numpy as np
import pytest
import torch
from scipy import linalg
from torch import nn

from counterbench.datasets.matching import Matcher
from counterbench.errors import ConfigError
from counterbench.metrics.realism import Realism
from counterbench.metrics.statistics import distributions, neighbours


def clouds(count=400, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, width, generator=generator) @ torch.randn(width, width, generator=generator)
    y = torch.randn(count, width, generator=generator) * 1.3 + 0.4
    return x.float(), y.float()


class AsFeatures(nn.Module):
    """What torchmetrics takes for a feature extractor: images that are features already."""

    num_features = 6

    def forward(self, images):
        return images.flatten(1)


@pytest.fixture(scope="module")
def foreign():
    """Its Frechet and kernel distances, where features of one's own may be of any size."""
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    if "input_img_size" not in inspect.signature(FrechetInceptionDistance.__init__).parameters:
        pytest.skip("this torchmetrics takes images for Inception only")
    return FrechetInceptionDistance, KernelInceptionDistance


def test_frechet_distance_is_that_of_torchmetrics_and_of_scipy(foreign):
    x, y = clouds()
    own = float(distributions.frechet(x, y).mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = foreign[0](feature=AsFeatures(), normalize=True, input_img_size=(6, 1, 1)).set_dtype(torch.float64)
        theirs.update(y.double()[..., None, None], real=True)
        theirs.update(x.double()[..., None, None], real=False)
        assert own == pytest.approx(float(theirs.compute()), rel=1e-6)
    (m, c), (n, d) = ((v.double().numpy().mean(0), np.cov(v.double().numpy().T)) for v in (x, y))
    root = linalg.sqrtm(c @ d).real
    assert own == pytest.approx(float(((m - n) ** 2).sum() + np.trace(c + d - 2 * root)), rel=1e-9)


def test_frechet_distance_of_known_normals():
    """N(0, 1) and N(3, 4) are 3^2 + (2 - 1)^2 apart, squared."""
    one, four = torch.ones(1, 1, dtype=torch.float64), torch.full((1, 1), 4.0, dtype=torch.float64)
    zero, three = torch.zeros(1, dtype=torch.float64), torch.full((1,), 3.0, dtype=torch.float64)
    assert distributions.frechet_of_moments(zero, one, three, four) == pytest.approx(10)


def test_a_set_is_no_distance_from_itself_even_if_it_is_smaller_than_its_dimension():
    x = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    assert float(distributions.frechet(x, x).mean()) == pytest.approx(0, abs=1e-5)
    assert distributions.frechet(x, x).isfinite().all()


def test_kernel_distance_is_that_of_torchmetrics(foreign):
    """On subsets as large as the set there is one unbiased estimate; torchmetrics draws it, and counts an answer and its own real image as a pair."""
    x, y = clouds(200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = foreign[1](feature=AsFeatures(), subsets=3, subset_size=200, normalize=True)
        theirs.update(y[..., None, None], real=True)
        theirs.update(x[..., None, None], real=False)
        expected = float(theirs.compute()[0])
    across = (x.double() @ y.double().T / 6 + 1) ** 3
    of_units = float((across.sum() - across.trace()) / (200 * 199))
    assert float(distributions.kid(x, y).mean()) == pytest.approx(
        expected + 2 * (float(across.mean()) - of_units), rel=1e-4
    )


def test_kernel_distance_is_its_formula_over_pairs_of_units():
    x, y = (part.double() for part in clouds(25))

    def k(a, b):
        return float((a @ b / 6 + 1) ** 3)

    pairs = [
        k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i]) for i in range(25) for j in range(25) if i != j
    ]
    assert float(distributions.kid(x, y).mean()) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_kernel_distance_is_unbiased_even_if_the_two_images_of_a_question_are_alike(shared):
    values = []
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        common, x, y = (torch.randn(30, 4, generator=generator) for _ in range(3))
        x, y = (shared * common + (1 - shared**2) ** 0.5 * own for own in (x, y))
        values.append(float(distributions.kid(x, y).mean()))
    assert np.mean(values) == pytest.approx(0, abs=3 * np.std(values) / np.sqrt(300))


def alike(rng_seed, clusters, each, width=4, icc=0.5):
    """Vectors of which `each` share a cluster, and their clusters; every vector alone is standard normal."""
    generator = torch.Generator().manual_seed(rng_seed)
    common = torch.randn(clusters, width, generator=generator).repeat_interleave(each, 0)
    own = torch.randn(clusters * each, width, generator=generator)
    return icc**0.5 * common + (1 - icc) ** 0.5 * own, torch.arange(clusters).repeat_interleave(each)


@pytest.mark.parametrize("of_answers", [True, False])
def test_kernel_distance_of_equal_laws_is_0_where_images_share_units(of_answers):
    """Eight images of each individual, among the answers or among the real images: alike, but the law is the same."""
    values, naive = [], []
    for seed in range(200):
        clustered, unit = alike(seed, 8, 8)
        single = torch.randn(64, 4, generator=torch.Generator().manual_seed(1000 + seed))
        x, y, units = (clustered, single, {"unit": unit}) if of_answers else (single, clustered, {"real_unit": unit})
        values.append(float(distributions.kid(x, y, **units).mean()))
        naive.append(float(distributions.kid(x, y).mean()))
    error = np.std(values) / np.sqrt(200)
    assert np.mean(values) == pytest.approx(0, abs=3 * error)
    assert np.mean(naive) > 5 * error


def test_pairs_that_share_a_unit_are_left_out_of_all_terms():
    x, y = (part.double() for part in clouds(20))
    unit, real_unit = torch.arange(20) // 4, torch.arange(20) % 7 + 3  # 3 and 4 are units of both

    def k(a, b):
        return float((a @ b / 6 + 1) ** 3)

    pairs = [
        k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i])
        for i in range(20)
        for j in range(20)
        if not {int(unit[i]), int(real_unit[i])} & {int(unit[j]), int(real_unit[j])}
    ]
    assert float(distributions.kid(x, y, unit=unit, real_unit=real_unit).mean()) == pytest.approx(np.mean(pairs))
    assert distributions.kid(x, y, unit=torch.zeros(20)).isnan().all()


def literal_prdc(x, y, k):
    """The formulas, sample by sample."""

    def radius(points, i):
        return sorted(float((points[i] - p).norm()) for j, p in enumerate(points) if j != i)[k - 1]

    real, fake = [radius(y, i) for i in range(len(y))], [radius(x, i) for i in range(len(x))]
    distance = [[float((a - b).norm()) for b in y] for a in x]
    inside = [[distance[i][j] <= real[j] for j in range(len(y))] for i in range(len(x))]
    return {
        "precision": np.mean([any(row) for row in inside]),
        "recall": np.mean([any(distance[i][j] <= fake[i] for i in range(len(x))) for j in range(len(y))]),
        "density": np.mean([sum(row) / k for row in inside]),
        "coverage": np.mean([any(inside[i][j] for i in range(len(x))) for j in range(len(y))]),
    }


@pytest.mark.parametrize("k", [1, 5])
def test_precision_recall_density_coverage_are_their_formulas(k):
    x, y = (part.double() for part in clouds(40))
    found = neighbours.prdc(x, y, k=k)
    for name, expected in literal_prdc(x, y, k).items():
        assert float(found[name].mean()) == pytest.approx(expected, abs=1e-12), name


def test_blocks_change_nothing(monkeypatch):
    x, y = clouds(100)
    unit = torch.arange(100) // 8
    whole = {**neighbours.prdc(x, y, unit=unit), "kid": distributions.kid(x, y, unit=unit)}
    monkeypatch.setattr(distributions, "_BLOCK", 17)
    monkeypatch.setattr(neighbours, "_BLOCK", 17)
    for name, value in {**neighbours.prdc(x, y, unit=unit), "kid": distributions.kid(x, y, unit=unit)}.items():
        assert torch.allclose(value, whole[name], atol=1e-12)


@pytest.mark.parametrize("each", [1, 4])
def test_without_a_unit_is_without_its_answers_and_its_real_images(each):
    """The statistic without each unit, by leaving it out and computing everything anew."""
    x, y = (part.double() for part in clouds(36))
    if each > 1:  # alike, so that one unit may be all of a point's neighbours
        x, y = (part.reshape(-1, each, 6).mean(1).repeat_interleave(each, 0) + 0.2 * part for part in (x, y))
    unit = torch.arange(36) // each
    found = neighbours.prdc(x, y, k=3, unit=unit)
    for name, whole in literal_prdc(x, y, 3).items():
        left = [literal_prdc(x[unit != g], y[unit != g], 3)[name] for g in range(36 // each)]
        expected = np.array([(36 - each) * (whole - part) for part in left])
        sums = torch.zeros(36 // each, dtype=torch.float64).index_add_(0, unit, found[name] - whole)
        assert sums.numpy() == pytest.approx(expected - expected.mean(), abs=1e-9), name
        assert float(found[name].mean()) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("statistic", [distributions.frechet, distributions.kid])
def test_the_spread_of_pseudo_values_is_that_over_fresh_samples(statistic):
    values, spreads = [], []
    for seed in range(300):
        x, y = torch.randn(2, 300, 3, generator=torch.Generator().manual_seed(seed)).unbind(0)
        pseudo = statistic(x * 1.5 + 0.3, y)
        values.append(float(pseudo.mean()))
        spreads.append(float(pseudo.std()) / np.sqrt(300))
    assert np.mean(spreads) == pytest.approx(np.std(values), rel=0.2)


def test_the_spread_of_neighbours_is_never_less_than_that_over_fresh_samples():
    """With the balls of one set held fixed it was as little as half of it. A jackknife errs on the other side, at most about twofold."""
    values, spreads = {}, {}
    for seed in range(80):
        x, unit = alike(seed, 30, 4)
        y, _ = alike(10_000 + seed, 120, 1)
        for name, pseudo in neighbours.prdc(x, y, unit=unit).items():
            sums = torch.zeros(30, dtype=torch.float64).index_add_(0, unit, pseudo - pseudo.mean())
            values.setdefault(name, []).append(float(pseudo.mean()))
            spreads.setdefault(name, []).append(float(sums.square().sum().sqrt()) / 120)
    for name, drawn in values.items():
        assert 0.95 < np.mean(spreads[name]) / np.std(drawn) < 2.5, name


def test_attributes_are_matched_before_anything_is_compared(toy):
    """Else a perfect model scores above 0: do(a = 2) moves the law of the images."""
    dataset, rows = toy.Toy(), torch.arange(120)
    held = {"a": torch.full((120,), 2.0)}
    truth = dataset.truth("test", rows, held)
    train = dataset.split("train").values["image"].flatten(1)
    matched = train[Matcher(dataset).nearest(truth)[:, 0]]
    answered = truth["image"].flatten(1)
    unmatched = distributions.frechet_against(answered, *distributions.moments(train)).mean()
    assert distributions.frechet(answered, matched).mean() < 0.3 * unmatched


def test_pooled_is_one_number_over_all_interventions(toy):
    dataset = toy.Toy()
    known = asked.setting(dataset)
    columns = asked.computed(
        "realism", known, asked.answers(dataset, asked.true, [torch.arange(20)]), spaces=["pixel"], pooled=True
    )
    assert {column.cell.intervened for column in columns} == {"all"}
    assert all(len(column.index) == 60 for column in columns)


def test_each_question_has_its_own_references_and_enough_answers(toy):
    dataset = toy.Toy()
    known = asked.setting(dataset)
    batches = list(asked.answers(dataset, asked.true, [torch.arange(12)]))
    found = {
        (column.cell.intervened, column.cell.quantity): column.point()
        for column in asked.computed("realism", known, batches, spaces=["pixel"])
    }
    space = known.spaces["pixel"]
    for answers in batches:
        if answers.kind == "single":
            (name,) = answers.intervened
            seen, real = (space.extract(view.images) for view in (answers.view, answers.batch.matched(name)))
            unit = answers.batch.view.group
            assert found[name, "kid"] == pytest.approx(float(distributions.kid(seen, real, unit=unit).mean()))
    few = asked.computed("realism", known, asked.answers(dataset, asked.true, [torch.arange(5)]), spaces=["pixel"])
    assert few == []


def test_units_reach_the_kernel_distance(toy):
    """Of the test split by the batch, of real images by what they were matched with; without them every question has its own."""
    dataset = toy.Toy()
    known, rows = asked.setting(dataset), torch.arange(24)
    batches = [one for one in asked.answers(dataset, asked.true, [rows]) if one.kind == "single"]
    space, (answers, *_) = known.spaces["pixel"], batches
    (name,) = answers.intervened
    seen, real = answers.view, answers.batch.matched(name)
    seen, real = space.extract(seen.images), space.extract(real.images)
    unit, real_unit = rows // 3, 1000 + rows % 5

    def value(group, real_group):
        answers.batch.view.group = group
        matched = answers.batch.matched(name)
        matched.group = real_group
        answers.batch._matched = lambda variable: matched
        (column,) = asked.computed("realism", known, [answers], spaces=["pixel"], quantities=["kid"])
        return column.point()

    assert value(None, None) == pytest.approx(float(distributions.kid(seen, real).mean()))
    assert value(unit, real_unit) == pytest.approx(
        float(distributions.kid(seen, real, unit=unit, real_unit=real_unit).mean())
    )
    answers.batch.view.group = torch.zeros(24, dtype=torch.long)
    assert asked.computed("realism", known, [answers], spaces=["pixel"], quantities=["kid"]) == []


def test_a_space_without_vectors_is_skipped_aloud(toy):
    class DistancesOnly(asked.ToyPosterior):
        vectors = False

    metric = Realism(asked.setting(toy.Toy(), spaces={"lpips": DistancesOnly()}), spaces=["lpips"])
    assert metric.cells == []
    assert metric.skipped == {"realism (lpips)": "this space knows distances only, no vectors"}


def test_options_are_checked(toy):
    known = asked.setting(toy.Toy())
    with pytest.raises(ConfigError, match="give matched or train"):
        Realism(known, reference="all")
    with pytest.raises(ConfigError, match="unknown quantity 'fid'"):
        Realism(known, quantities=["fid"])
