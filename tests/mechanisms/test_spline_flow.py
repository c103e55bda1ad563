import numpy as np
import pytest
import torch
from scipy import stats

from counterbench.causal.variables import Continuous
from counterbench.plugins import registry

X, C = Continuous("x", -2, 2), Continuous("c", -1, 1)
OPTIONS = [{}, {"bounded": True}, {"bins": 0}, {"spline_context": False}, {"bins": 0, "bounded": True}]


def random_flow(options, parents=(C,)):
    torch.manual_seed(1)
    flow = registry.mechanisms.get("spline_flow")(X, parents, **options)
    for parameter in flow.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    return flow.double()


@pytest.mark.parametrize("options", OPTIONS)
def test_log_likelihood_is_the_change_of_variables_by_autograd(options):
    """Defect 14 of the anchor: hand-written log-determinants with wrong sign, place or logarithm."""
    flow = random_flow(options)
    value = torch.linspace(-0.9, 0.9, 31, dtype=torch.float64)[:, None].requires_grad_()
    parents = {"c": torch.linspace(-1, 1, 31, dtype=torch.float64)[:, None]}
    noise = flow.abduct(value, parents)["u"]
    (slope,) = torch.autograd.grad(noise.sum(), value)
    reference = -0.5 * noise.square() - 0.5 * np.log(2 * np.pi) + slope.abs().log()
    assert torch.allclose(-flow.loss(value, parents), reference[:, 0], atol=1e-9)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("context", [-0.8, 0.5])
def test_density_integrates_to_one(options, context):
    """By the midpoint rule over the whole range, all points at once; the grid is finer where the density may be steep."""
    flow = random_flow(options)
    low, high = (-1, 1) if options.get("bounded") else (-60, 60)
    with torch.no_grad():
        noise = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
        steep = flow.generate({"u": noise}, {"c": torch.full_like(noise, context)}).clamp(low, high)
        grid = torch.cat([torch.linspace(low, high, 2001, dtype=torch.float64), steep[:, 0]]).sort().values
        middle = ((grid[1:] + grid[:-1]) / 2)[:, None]
        density = (-flow.loss(middle, {"c": torch.full_like(middle, context)})).exp()
    assert float((density * grid.diff()).sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
def test_monotone_in_its_noise(options):
    flow = random_flow(options)
    noise = {"u": torch.linspace(-4, 4, 200, dtype=torch.float64)[:, None]}
    value = flow.generate(noise, {"c": torch.zeros(200, 1, dtype=torch.float64)})
    assert (value.diff(dim=0) > 0).all()


def test_starts_as_the_standard_normal_and_prepare_fits_the_moments():
    flow = registry.mechanisms.get("spline_flow")(X, ())
    u = torch.linspace(-3, 3, 9)[:, None]
    assert torch.allclose(flow.generate({"u": u}, {}), u, atol=1e-3)
    data = 0.4 + 0.05 * torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
    flow.prepare(data, {})
    sampled = flow.generate(flow.sample_noise(4000, torch.Generator().manual_seed(1)), {})
    assert float(sampled.mean()) == pytest.approx(0.4, abs=0.01)
    assert float(sampled.std()) == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("bounded", [False, True])
def test_prepare_makes_the_noise_of_the_data_standard_and_parents_matter_little(bounded):
    flow = random_flow({"bins": 0, "bounded": bounded}).float()
    last = flow.affine.network.layers[-1]
    before = last.weight.detach().clone()
    data = torch.tanh(0.4 + 0.2 * torch.randn(500, 1, generator=torch.Generator().manual_seed(0)))
    flow.prepare(data, {})
    assert torch.allclose(last.weight, 0.1 * before)
    last.weight.data.zero_()
    noise = flow.abduct(data, {"c": torch.zeros(500, 1)})["u"].detach()
    assert noise.mean().item() == pytest.approx(0, abs=1e-4)
    assert noise.std().item() == pytest.approx(1, abs=1e-4)


def test_bounded_flow_survives_values_at_its_bounds():
    flow = registry.mechanisms.get("spline_flow")(X, (), bounded=True)
    edge = torch.tensor([[-1.0], [1.0]])
    noise = flow.abduct(edge, {})["u"]
    assert noise.isfinite().all()
    assert flow.loss(edge, {}).isfinite().all()
    assert torch.allclose(flow.generate({"u": noise}, {}), edge, atol=1e-5)


def test_fits_a_known_conditional():
    """x = tanh(c + 0.4 e) is within reach of the bounded flow: after training the noise is normal and independent of c."""
    generator = torch.Generator().manual_seed(0)
    c = 2 * torch.rand(3000, 1, generator=generator) - 1
    x = torch.tanh(c + 0.4 * torch.randn(3000, 1, generator=generator))
    torch.manual_seed(0)
    flow = registry.mechanisms.get("spline_flow")(X, (C,), bounded=True, spline_context=False)
    flow.prepare(x, {"c": c})
    optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        flow.loss(x, {"c": c}).mean().backward()
        optimizer.step()
    u = flow.abduct(x, {"c": c})["u"].detach().numpy()[:, 0]
    assert stats.kstest(u, "norm").statistic < 0.03
    assert abs(stats.spearmanr(u, c.numpy()[:, 0]).statistic) < 0.05
