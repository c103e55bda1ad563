import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterbench.metrics.truth import rounded, tea


def images(seed, count=6):
    generator = torch.Generator().manual_seed(seed)
    return [255 * torch.rand(count, 1, 5, 5, generator=generator, dtype=torch.float64) for _ in range(3)]


def literal(x, true, star):
    """METRICS: effect = <z,w>/|z|^2, amplification = sqrt(|w|^2 - (<z,w>/|z|)^2), image by image."""
    rows = []
    for i in range(len(x)):
        z, w = (true[i] - x[i]).flatten(), (star[i] - x[i]).flatten()
        along = float(z @ w) / float(z.norm())
        rows.append((float(z @ w) / float(z @ z), max(0.0, float(w @ w) - along**2) ** 0.5))
    return rows


@given(st.integers(0, 10_000))
def test_agrees_with_the_formula_transcribed(seed):
    x, true, star = images(seed)
    effect, amplification = tea(x, true, star)
    for i, (e, a) in enumerate(literal(x, true, star)):
        assert effect[i].item() == pytest.approx(e, rel=1e-9)
        assert amplification[i].item() == pytest.approx(a, rel=1e-6, abs=1e-6)


@given(st.integers(0, 10_000), st.floats(-2, 3))
def test_fixed_points(seed, share):
    x, true, _ = images(seed)
    assert all(v.abs().max() == 0 for v in tea(x, true, x))
    effect, amplification = tea(x, true, true)
    assert torch.allclose(effect, torch.ones(6, dtype=torch.float64))
    assert amplification.max() < 1e-9
    partly = tea(x, true, x + share * (true - x))
    assert torch.allclose(partly[0], torch.full((6,), share, dtype=torch.float64), atol=1e-9)
    assert partly[1].max() < 1e-6


def test_no_change_to_compare_with_is_nan():
    x, _, star = images(0)
    effect, amplification = tea(x, x, star)
    assert effect.isnan().all()
    assert amplification.isnan().all()


def test_only_what_single_precision_loses_is_no_error():
    scale = torch.tensor([0.0, 100.0, 100.0])
    error = torch.tensor([1e-5, 1e-4, 1e-3], dtype=torch.float64)
    assert rounded(error, scale).tolist() == [1e-5, 0, 1e-3]
