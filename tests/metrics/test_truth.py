import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterbench.metrics.truth import rounded, tea


def images(seed, count=6):
    generator = torch.Generator().manual_seed(seed)
    return [255 * torch.rand(count, 1, 5, 5, generator=generator, dtype=torch.float64) for _ in range(3)]


def literal(x, true, star):
    """METRICS: <z, w>, |z|^2 and |w - (<z, w> / |z|^2) z|^2, image by image, as means over pixels."""
    rows = []
    for i in range(len(x)):
        z, w = (true[i] - x[i]).flatten(), (star[i] - x[i]).flatten()
        along = float(z @ w) / float(z @ z)
        rows.append((float(z @ w) / len(z), float(z @ z) / len(z), float((w - along * z) @ (w - along * z)) / len(z)))
    return rows


@given(st.integers(0, 10_000))
def test_agrees_with_the_formula_transcribed(seed):
    x, true, star = images(seed)
    for i, expected in enumerate(literal(x, true, star)):
        for values, value in zip(tea(x, true, star), expected, strict=True):
            assert values[i].item() == pytest.approx(value, rel=1e-6, abs=1e-6)


@given(st.integers(0, 10_000), st.floats(-2, 3))
def test_fixed_points(seed, share):
    x, true, _ = images(seed)
    along, _, beside = tea(x, true, x)
    assert along.abs().max() == beside.abs().max() == 0
    along, length, beside = tea(x, true, x + share * (true - x))
    assert torch.allclose(along / length, torch.full((6,), share, dtype=torch.float64), atol=1e-9)
    assert beside.max() < 1e-9


def test_where_the_truth_changes_nothing_every_change_is_beside_it():
    x, _, star = images(0)
    along, length, beside = tea(x, x, star)
    assert along.abs().max() == length.max() == 0
    assert torch.allclose(beside, (star - x).flatten(1).square().mean(1))


def test_only_what_single_precision_loses_is_no_error():
    scale = torch.tensor([0.0, 100.0, 100.0])
    error = torch.tensor([1e-5, 1e-4, 1e-3], dtype=torch.float64)
    assert rounded(error, scale).tolist() == [1e-5, 0, 1e-3]
