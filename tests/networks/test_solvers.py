"""Solvers: order, what an exact round trip is, and what it does not promise."""

import math

import pytest
import torch

from counterbench.errors import ConfigError
from counterbench.networks.solvers import CORRECTION, PRIMARY, SOLVERS, make_solver

EXPLICIT = ("euler", "midpoint", "heun")
REVERSIBLE = ("leapfrog", "reversible-heun")


def bent(state, time):
    """A field that depends on state and time; its solution is known: x(1) = x(0) exp(sin 2 / 2)."""
    return math.cos(2 * time) * state


def curved(state, time):
    return torch.sin(3 * state + time) * 2 - state


@pytest.fixture
def value():
    return torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("leapfrog", 2), ("reversible-heun", 2)]
)
def test_the_error_falls_with_the_order(name, order, value):
    errors = []
    for steps in (16, 32):
        solver = make_solver(name, steps)
        noise = {PRIMARY: value, CORRECTION: torch.zeros_like(value)}
        errors.append(float((solver.forth(noise, bent) - value * math.exp(math.sin(2) / 2)).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.25)


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize("name", SOLVERS)
def test_the_round_trip_is_exact_however_few_the_steps(name, steps, value):
    solver = make_solver(name, steps)
    noise = solver.back(value, curved)
    assert set(noise) == set(solver.parts) == {PRIMARY, CORRECTION}
    assert torch.allclose(solver.forth(noise, curved), value, atol=1e-9)


@pytest.mark.parametrize("name", EXPLICIT)
def test_without_correction_the_round_trip_is_not_exact(name, value):
    solver = make_solver(name, 3, exact=False)
    noise = solver.back(value, curved)
    assert set(noise) == {PRIMARY}
    assert float((solver.forth(noise, curved) - value).abs().max()) > 1e-3


@pytest.mark.parametrize("name", SOLVERS)
def test_from_noise_and_back_only_the_first_state_returns_and_the_better_the_finer(name, value):
    errors, corrections = [], []
    for steps in (5, 40):
        solver = make_solver(name, steps)
        there = solver.forth({PRIMARY: value, CORRECTION: torch.zeros_like(value)}, bent)
        again = solver.back(there, bent)
        errors.append(float((again[PRIMARY] - value).abs().max()))
        corrections.append(float(again[CORRECTION].abs().max()))
    assert errors[1] < errors[0] / 4
    assert corrections[1] < corrections[0] / 4


@pytest.mark.parametrize("name", REVERSIBLE)
def test_reversible_solvers_give_back_both_states(name, value):
    """Along the pair of states either direction undoes the other; float64 leaves rounding alone."""
    solver = make_solver(name, 4)
    other = 0.1 * torch.randn_like(value)
    first, second = solver._along(value, other, solver.times, curved)
    back = solver._along(first, second, list(reversed(solver.times)), curved)
    assert torch.allclose(back[0], value, atol=1e-12)
    assert torch.allclose(back[1], other, atol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_evaluations_are_counted_as_they_happen(name, value):
    solver, asked = make_solver(name, 4), []

    def counted(state, time):
        asked.append(time)
        return curved(state, time)

    noise = solver.back(value, counted)
    back = len(asked)
    solver.forth(noise, counted)
    assert (back, len(asked) - back) == solver.evaluations
    assert all(0 <= time <= 1 for time in asked)


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="Did you mean 'midpoint'"):
        make_solver("mid-point", 3)
    with pytest.raises(ConfigError, match="steps is 0; a solver needs at least 1"):
        make_solver("euler", 0)
    with pytest.raises(ConfigError, match="Leapfrog is exact in any case"):
        make_solver("leapfrog", 3, exact=False)
