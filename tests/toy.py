"""A data-generating process with closed-form counterfactuals, as a third party would plug it in.

a ~ N(0, 1);  b = 0.5 a + 1 + 0.8 e_b;  c in {0, 1, 2};  image = 128 + 12 (a TOP + b BOTTOM) + 20 c STRIPE + 4 e_image

The noise of the image is orthogonal to TOP, BOTTOM and STRIPE, so a, b and c can be read off it exactly. Everything is drawn on a grid
(a in sixths, b in twelfths) such that every image, true counterfactuals as well, has whole grey levels.
"""

from __future__ import annotations

from pathlib import Path

import torch

from counterbench.catalog.cards import Card
from counterbench.catalog.recipes import Recipe
from counterbench.causal.chance import normal
from counterbench.causal.graph import CausalGraph
from counterbench.datasets.dataset import Dataset, Split
from counterbench.features.base import FeatureSpace
from counterbench.judges.base import Judge
from counterbench.mechanisms.base import Mechanism
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins import registry

SIDE = 8
COUNTS = {"train": 400, "validation": 100, "judge": 50, "test": 120}
A_TO_B, B_SHIFT, B_NOISE = 0.5, 1.0, 0.8


def patterns() -> torch.Tensor:
    """TOP, BOTTOM, STRIPE: orthogonal, entries 0 or +-1, (3, 64)."""
    top = torch.zeros(SIDE, SIDE)
    top[:4, :6] = 1
    bottom = torch.zeros(SIDE, SIDE)
    bottom[4:, :6] = 1
    stripe = torch.zeros(SIDE, SIDE)
    stripe[:, 6:] = 1
    return torch.stack([top, bottom, stripe]).flatten(1).double()


def picture(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """(N,), (N,), (N,), (N, 64) -> (N, 1, 8, 8)."""
    top, bottom, stripe = patterns()
    shown = 128 + 12 * (a.double()[:, None] * top + b.double()[:, None] * bottom) + 20 * c.double()[:, None] * stripe
    return (shown + 4 * clean(noise)).view(-1, 1, SIDE, SIDE)


def on_grid(noise: torch.Tensor, step: float) -> torch.Tensor:
    """Draws, rounded to multiples of a step."""
    return (noise.double() / step).round() * step


def clean(noise: torch.Tensor) -> torch.Tensor:
    """Noise in quarters, (N, 64) -> (N, 64): what one pixel gets is taken from its neighbour, which has the same pattern."""
    whole = (4 * noise.double()[:, ::2]).round() / 4
    return torch.stack([whole, -whole], 2).flatten(1)


def solid(pictures: torch.Tensor) -> torch.Tensor:
    """(N, 1, 8, 8) -> (N, 1, 16, 16, 16): each of the 64 pixels becomes a cube of 4 x 4 x 4 voxels."""
    volumes = pictures.reshape(-1, 1, 4, 4, 4)
    for axis in (2, 3, 4):
        volumes = volumes.repeat_interleave(4, axis)
    return volumes


def flat(images: torch.Tensor) -> torch.Tensor:
    """Pictures, or volumes of such cubes, as 64 numbers each, float64."""
    images = images.double()
    return (torch.nn.functional.avg_pool3d(images, 4) if images.ndim == 5 else images).flatten(1)


def read(images: torch.Tensor) -> torch.Tensor:
    """(N, 1, 8, 8) or solid -> (N, 3): a, b and c, exactly."""
    shapes = patterns()
    strength = (flat(images) - 128) @ shapes.T / shapes.square().sum(1)
    return strength / torch.tensor([12.0, 12.0, 20.0], dtype=torch.float64)


CARD = Card.model_validate(
    {
        "name": "toy",
        "title": "Linear-Gaussian toy",
        "description": "Closed-form counterfactuals.",
        "reader": "toy",
        "variables": {
            "a": {"kind": "continuous", "range": [-4, 4], "unit": "u"},
            "b": {"kind": "continuous", "range": [-4, 6], "unit": "v", "parents": ["a"]},
            "c": {"kind": "categorical", "classes": ["zero", "one", "two"]},
            "image": {"kind": "image", "shape": [1, SIDE, SIDE], "parents": ["a", "b", "c"], "intervenable": False},
        },
        "default_source": "formula",
        "sources": {"formula": {"description": "a formula", "licence": "none", "embedded": True, "sizes": COUNTS}},
        "judges": {name: [{"judge": "toy-reader"}] for name in ("a", "b", "c")},
        "typical_change": {"formula": {"a": 9.0, "b": 4.0, "c": 5.0}},
    }
)


@registry.datasets.register("toy")
class Toy(Dataset):
    """Reader of the toy."""

    plugin_card = CARD

    def __init__(self, card: Card = CARD, source: str | None = None, data_dir: Path | None = None):
        super().__init__(card, source, data_dir)

    def _noise(self, name: str) -> dict[str, torch.Tensor]:
        self._require_split(name)
        generator = torch.Generator().manual_seed(self.splits.index(name))
        count = COUNTS[name]
        return {
            "a": on_grid(torch.randn(count, generator=generator), 1 / 6),
            "b": on_grid(torch.randn(count, generator=generator), 1 / 12 / B_NOISE),
            "c": torch.randint(3, (count,), generator=generator),
            "image": torch.randn(count, SIDE * SIDE, generator=generator),
        }

    def _values(self, noise: dict[str, torch.Tensor], held: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        a = held.get("a", noise["a"])
        b = held.get("b", A_TO_B * a + B_SHIFT + B_NOISE * noise["b"])
        c = held.get("c", noise["c"])
        image = picture(a, b, c, noise["image"]).float()
        return {"a": a.float(), "b": b.float(), "c": c, "image": image}

    def split(self, name: str) -> Split:
        pairs = torch.arange(COUNTS[name]) // 2 + 1000 * self.splits.index(name)
        return Split(name, self._values(self._noise(name), {}), pairs)

    def knows_truth(self, intervened) -> bool:
        return True

    def true_attributes(self, split, index, interventions):
        noise = {key: value[index] for key, value in self._noise(split).items()}
        values = self._values(noise, dict(interventions))
        return {name: values[name] for name in ("a", "b", "c")}

    def _true_image(self, split, index, attributes):
        noise = self._noise(split)["image"][index]
        return picture(attributes["a"], attributes["b"], attributes["c"], noise).float()


_SHAPE = {"kind": "image", "shape": [1, 16, 16, 16], "parents": ["a", "b", "c"], "intervenable": False}
SOLID_CARD = CARD.model_validate(
    {
        **CARD.model_dump(exclude_unset=True),
        "name": "toy-solid",
        "reader": "toy-solid",
        "variables": {**CARD.model_dump(exclude_unset=True)["variables"], "image": _SHAPE},
    }
)


@registry.datasets.register("toy-solid")
class SolidToy(Toy):
    """The same with volumes: whatever is a mean over pixels is the same number as of the pictures."""

    plugin_card = SOLID_CARD

    def __init__(self, card: Card = SOLID_CARD, source: str | None = None, data_dir: Path | None = None):
        super().__init__(card, source, data_dir)

    def _values(self, noise: dict[str, torch.Tensor], held: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        values = super()._values(noise, held)
        return {**values, "image": solid(values["image"])}

    def _true_image(self, split, index, attributes):
        return solid(super()._true_image(split, index, attributes))


@registry.judges.register("toy-reader")
class ToyReader(Judge):
    """Reads a, b or c off the image."""

    kinds = ("continuous", "categorical")

    @property
    def fingerprint(self) -> str:
        return "toy-reader"

    def _measure(self, images: torch.Tensor) -> torch.Tensor:
        value = read(images)[:, "abc".index(self.variable.name)]
        if self.variable.kind == "continuous":
            return value
        return torch.nn.functional.one_hot(value.round().long().clamp(0, 2), 3).double()


@registry.recognisers.register("toy-residual")
class ToyResidual(FeatureSpace):
    """Who it is: the noise of the image, which a, b and c leave alone."""

    title = "residual"

    @property
    def fingerprint(self) -> str:
        return "toy-residual"

    def _extract(self, images: torch.Tensor) -> torch.Tensor:
        numbers, shapes = flat(images) - 128, patterns()
        strength = numbers @ shapes.T / shapes.square().sum(1)
        return torch.nn.functional.normalize(numbers - strength @ shapes, dim=1).float()


@registry.mechanisms.register("toy-linear")
class Linear(Mechanism):
    """x = weights . parents + shift + scale e, on encoded values."""

    kinds = ("continuous",)
    invertible = True
    stochastic_abduction = False

    def __init__(self, variable, parents, shift: float = 0.0, scale: float = 1.0):
        super().__init__(variable, parents)
        self.weights = torch.nn.Parameter(torch.zeros(self.context_size))
        self.shift = torch.nn.Parameter(torch.tensor([float(shift)]))
        self.scale = torch.nn.Parameter(torch.tensor([float(scale)]))

    def _mean(self, parents, like):
        return (self.context(parents, like) @ self.weights)[:, None] + self.shift

    def abduct(self, value, parents, generator=None):
        return {"e": (value - self._mean(parents, value)) / self.scale}

    def generate(self, noise, parents, intervened=frozenset()):
        return self._mean(parents, noise["e"]) + self.scale * noise["e"]

    def sample_noise(self, count, generator=None):
        return {"e": normal((count, 1), generator, self.reference)}

    def loss(self, value, parents, generator=None):
        e = self.abduct(value, parents)["e"]
        return (0.5 * e.square() + self.scale.abs().log())[:, 0]


@registry.mechanisms.register("toy-picture")
class Picture(Mechanism):
    """The toy's true image mechanism; `blur` < 1 makes it lose that share of the noise, `gain` over- or underdoes effects."""

    kinds = ("image",)
    invertible = True
    stochastic_abduction = False

    def __init__(self, variable, parents, keep: float = 1.0):
        super().__init__(variable, parents)
        self.keep = keep

    def _clean_image(self, parents):
        a, b = (self.parents[i].decode(parents[self.parents[i].name]) for i in (0, 1))
        c = self.parents[2].decode(parents["c"])
        return self.variable.encode(picture(a, b, c, torch.zeros(len(a), SIDE * SIDE)), torch.float64)

    def abduct(self, value, parents, generator=None):
        return {"e": value.double() - self._clean_image(parents)}

    def generate(self, noise, parents, intervened=frozenset()):
        return (self._clean_image(parents) + self.keep * noise["e"]).float()

    def sample_noise(self, count, generator=None):
        drawn = clean(normal((count, SIDE * SIDE), generator, torch.empty(0, dtype=torch.float64)))
        return {"e": (4 * drawn / 127.5).view(count, 1, SIDE, SIDE)}

    def loss(self, value, parents, generator=None):
        return self.abduct(value, parents)["e"].square().flatten(1).sum(1)


def exact_scm(keep: float = 1.0) -> StructuralCausalModel:
    """The toy's own causal model, so that its counterfactuals are the truth."""
    variables = CARD.build_variables()
    a, b, c, image = (variables[name] for name in ("a", "b", "c", "image"))
    # Encoded: a / 4, and (b - 1) / 5.
    of_a = Linear(a, [], 0.0, 1 / 4)
    of_b = Linear(b, [a], 0.0, B_NOISE / 5)
    with torch.no_grad():
        of_b.weights.fill_(A_TO_B * 4 / 5)
    of_c = registry.mechanisms.get("categorical")(c, [])
    graph: CausalGraph = CARD.graph
    return StructuralCausalModel(graph, [of_a, of_b, of_c, Picture(image, [a, b, c], keep)]).requires_grad_(False)


def small_recipe() -> Recipe:
    """A model of the toy that is trained in a moment."""
    fit = {"epochs": 1, "batch_size": 50}
    flow = {"family": "spline_flow", "fit": fit}
    options = {"latent": 2, "encoder_channels": [4], "decoder_channels": [4], "hidden": 8}
    mechanisms = {
        "a": flow,
        "b": flow,
        "c": {"family": "categorical", "fit": fit},
        "image": {"family": "vae", "options": options, "fit": fit},
    }
    return Recipe.model_validate({"name": "base", "title": "Base", "dataset": "toy", "mechanisms": mechanisms})


class ExactModel:
    """A model that is no SCM to the evaluator: just an object that answers."""

    def __init__(self, dataset=None):
        self.scm = exact_scm()

    def counterfactual(self, factual, interventions, generator=None):
        return self.scm.counterfactual(factual, interventions, generator)


registry.models.register("toy-exact")(ExactModel)
