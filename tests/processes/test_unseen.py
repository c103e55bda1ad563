"""What no portrait shows can change without a pixel, and only that."""

import itertools

import pytest
import torch

from counterbench.processes.portraits import ATTRIBUTES, TRAITS, render
from counterbench.processes.unseen import HIDDEN_BY, drawn_again, hidden


@pytest.fixture(scope="module")
def people():
    """Two of every kind: attributes, traits, chance."""
    kinds = torch.tensor(list(itertools.product((0, 1), repeat=len(ATTRIBUTES)))).repeat(2, 1)
    generator = torch.Generator().manual_seed(0)
    traits, chance = (torch.rand(len(kinds), len(TRAITS), generator=generator) for _ in range(2))
    return dict(zip(ATTRIBUTES, kinds.unbind(1), strict=True)), traits, chance.double()


def test_whoever_is_drawn_again_looks_the_same(people):
    attributes, traits, chance = people
    again = drawn_again(attributes, traits, chance)
    assert ((again >= 0) & (again <= 1)).all()
    apart = (render(attributes, again).int() - render(attributes, traits).int()).abs()
    assert int(apart.max()) <= 1  # rounding
    assert (apart > 0).double().mean() < 1e-3
    smiling = attributes["smiling"] == 1
    moved = (again != traits) & ~hidden(attributes)
    names = ("mouth_width", "smile_width", "mouth_curve", "smile_lift")
    assert moved[smiling][:, [TRAITS.index(name) for name in names]].all()
    assert not moved[~smiling].any()


@pytest.mark.parametrize("kind", sorted(HIDDEN_BY))
def test_each_hidden_trait_is_seen_as_soon_as_nothing_hides_it(kind, people):
    attributes, traits, _ = people
    shown = {name: value.clone() for name, value in attributes.items()}
    for (name, value), listed in HIDDEN_BY.items():
        if set(listed) & set(HIDDEN_BY[kind]):
            shown[name] = torch.full_like(shown[name], 1 - value)
    few = slice(0, 6)
    shown = {name: value[few] for name, value in shown.items()}
    for trait in HIDDEN_BY[kind]:
        other = traits[few].clone()
        place = TRAITS.index(trait)
        other[:, place] = torch.where(other[:, place] < 0.5, 1.0, 0.0)
        assert (render(shown, other) != render(shown, traits[few])).any(), trait


def test_the_mouth_of_a_smile_keeps_the_law_that_it_was_drawn_from():
    """Drawing everything, then drawing again what is not seen, must give the same law (a step of Gibbs sampling)."""
    generator = torch.Generator().manual_seed(1)
    traits, chance = (torch.rand(100_000, len(TRAITS), generator=generator) for _ in range(2))
    smiling = {name: torch.ones(100_000, dtype=torch.long) for name in ATTRIBUTES}
    again = drawn_again(smiling, traits, chance.double())
    for name in ("mouth_width", "smile_width", "mouth_curve", "smile_lift"):
        values = again[:, TRAITS.index(name)].double()
        deciles = torch.quantile(values, torch.linspace(0.1, 0.9, 9, dtype=torch.float64))
        assert deciles.tolist() == pytest.approx([k / 10 for k in range(1, 10)], abs=0.006), name
