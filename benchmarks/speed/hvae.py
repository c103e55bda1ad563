"""The hierarchical VAE against a literal implementation of the published architecture, in one run, on this machine.

    python benchmarks/speed/hvae.py [--steps 40] [--data]

The literal one follows the 2024 benchmark's description of its MorphoMNIST model: 32 x 32 maps down to 1 x 1, four stochastic
blocks per resolution, bottleneck blocks, and parents that are expanded to image-sized maps and concatenated wherever they enter.
`hvae-published` has as many weights and as many latents of as many channels, but works on patches of 2 x 2 pixels (at full resolution
the published blocks have 4 channels inside, where a processor waits for memory), spends its weights at coarse resolutions, and lets parents
enter as projected features. `hvae`, the default recipe, has 8 latents of 8 channels.

Printed: weights, latents, milliseconds per image for abduction with generation and per training step, ratios; with `--data`, also the
negative evidence lower bound over the last tenth of the steps, on the embedded images.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn

from counterbench.causal.variables import Categorical, Continuous, Image
from counterbench.mechanisms.hvae import HVAE
from counterbench.models.loading import find_recipe
from counterbench.networks.likelihood import DiscretisedGaussian, discretised_gaussian_log_prob

PARENTS = (
    Continuous("thickness", 0, 6.3, "px"),
    Continuous("intensity", 64, 255, "grey levels"),
    Categorical("digit", tuple("0123456789")),
)
CONTEXT = sum(parent.size for parent in PARENTS)
IMAGE = Image("image", 1, 32, 32)
OURS = ("hvae-published", "hvae")
LAYOUT = ("levels", "encoder_blocks", "bottleneck", "latent")
LIKELIHOOD = {"min_log_scale": -4.0, "max_log_scale": -2.0}


class Block(nn.Module):
    """1x1, 3x3, 3x3, 1x1 with a GELU before each; residual and pooling where asked for."""

    def __init__(self, before: int, inner: int, after: int, side: int, residual: bool = False, down: int = 1):
        super().__init__()
        kernel = 3 if side > 2 else 1
        self.residual, self.down = residual, down
        self.layers = nn.Sequential(
            nn.GELU(),
            nn.Conv2d(before, inner, 1),
            nn.GELU(),
            nn.Conv2d(inner, inner, kernel, padding=kernel // 2),
            nn.GELU(),
            nn.Conv2d(inner, inner, kernel, padding=kernel // 2),
            nn.GELU(),
            nn.Conv2d(inner, after, 1),
        )
        self.match = nn.Conv2d(before, after, 1) if residual and before != after else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        made: Tensor = self.layers(maps)
        if self.residual:
            made = self.match(maps) + made
        return nn.functional.avg_pool2d(made, self.down) if self.down > 1 else made


WIDTHS = {32: 16, 16: 32, 8: 64, 4: 128, 1: 256}


class Encoder(nn.Module):
    """32b3d2, 16b3d2, 8b3d2, 4b3d4, 1b4."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 7, padding=3)
        self.blocks = nn.ModuleList()
        before = 16
        for side, count, down in ((32, 3, 2), (16, 3, 2), (8, 3, 2), (4, 3, 4), (1, 4, 1)):
            width = WIDTHS[side]
            for _ in range(count):
                self.blocks.append(Block(before, before // 4, width, side, residual=True))
                before = width
            if down > 1:
                self.blocks.append(Block(before, before // 4, WIDTHS[max(side // down, 1)], side, True, down))
                before = WIDTHS[max(side // down, 1)]

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        maps, found = self.stem(image), {}
        for block in self.blocks:
            maps = block(maps)
            found[maps.shape[-1]] = maps
        return found


class DecoderBlock(nn.Module):
    """One stochastic block; parents are maps."""

    def __init__(self, side: int, latent: int, last: bool):
        super().__init__()
        width = WIDTHS[side]
        self.latent = latent
        self.prior = Block(width, width // 4, 2 * latent + width, side)
        self.posterior = Block(2 * width + CONTEXT, width // 4, 2 * latent, side)
        self.show = nn.Conv2d(latent + CONTEXT, width, 1)
        self.carry = None if last else nn.Conv2d(latent + width, width, 1)
        self.conv = Block(width, width // 4, width, side, residual=True)


class Literal(nn.Module):
    """The published hierarchy with an exogenous prior."""

    def __init__(self, latent: int = 16, blocks: int = 4):
        super().__init__()
        self.encoder = Encoder()
        self.sides = [1, 4, 8, 16, 32]
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(1, WIDTHS[side], side, side)) for side in self.sides)
        self.resize = nn.ModuleList(
            nn.Conv2d(WIDTHS[a], WIDTHS[b], 1) for a, b in zip([1, 1, 4, 8, 16], self.sides, strict=True)
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(DecoderBlock(side, latent, (side, k) == (32, blocks - 1)) for k in range(blocks))
            for side in self.sides
        )
        self.likelihood = DiscretisedGaussian(16, 1, **LIKELIHOOD)

    def run(self, context: Tensor, activations: dict[int, Tensor] | None, noise: list[Tensor] | None = None):  # type: ignore[no-untyped-def]
        """Posterior where there are activations, else the given noise in units of the prior."""
        count, divergence, found = len(context), context.new_zeros(len(context)), []
        maps = path = self.biases[0].expand(count, -1, -1, -1)
        for level, side in enumerate(self.sides):
            if level:
                factor = side // maps.shape[-1]
                up = nn.functional.interpolate
                maps = self.resize[level](up(maps, scale_factor=factor)) + self.biases[level]
                path = self.resize[level](up(path, scale_factor=factor)) + self.biases[level]
            parents = context[:, :, None, None].expand(-1, -1, side, side)
            for block in self.stages[level]:  # type: ignore[union-attr, attr-defined]
                mean, log_scale, features = block.prior(path).split([block.latent, block.latent, WIDTHS[side]], 1)
                if activations is not None:
                    seen = torch.cat([maps, parents, activations[side]], 1)
                    own_mean, own_scale = block.posterior(seen).chunk(2, 1)
                    latent = own_mean + own_scale.exp() * torch.randn_like(own_mean)
                    ratio = (2 * (own_scale - log_scale)).exp() + ((own_mean - mean) * (-log_scale).exp()).square()
                    divergence = divergence + (0.5 * (ratio - 1) + log_scale - own_scale).flatten(1).sum(1)
                    found.append((latent - mean) * (-log_scale).exp())
                else:
                    assert noise is not None
                    latent = mean + log_scale.exp() * noise[len(found)]
                    found.append(noise[len(found)])
                maps = maps + features + block.show(torch.cat([latent, parents], 1))
                maps = block.conv(maps)
                if block.carry is not None:
                    path = path + block.carry(torch.cat([latent, features], 1))
        return self.likelihood(maps), divergence, found

    def loss(self, image: Tensor, context: Tensor) -> Tensor:
        """Negative evidence lower bound, (N,), in nats."""
        pixels, divergence, _ = self.run(context, self.encoder(image))
        return divergence - discretised_gaussian_log_prob(image, *pixels).flatten(1).sum(1)

    def counterfactual(self, image: Tensor, context: Tensor, other: Tensor) -> Tensor:
        """Abduction, then generation under other parents."""
        (mean, log_scale), _, noise = self.run(context, self.encoder(image))
        left = (image - mean) * (-log_scale).exp()
        (mean, log_scale), _, _ = self.run(other, None, noise)
        return mean + 0.1 * log_scale.exp() * left


def parents_of(context: Tensor) -> dict[str, Tensor]:
    """The context vector as a mechanism's parents."""
    sizes = [parent.size for parent in PARENTS]
    return dict(zip((parent.name for parent in PARENTS), context.split(sizes, 1), strict=True))


class Ours(nn.Module):
    """The same three calls on our mechanism, in the layout of a recipe."""

    def __init__(self, recipe: str) -> None:
        super().__init__()
        options = find_recipe(recipe, "morphomnist")[0].mechanisms["image"].options
        layout = {name: options[name] for name in LAYOUT if name in options}
        self.mechanism = HVAE(IMAGE, PARENTS, **layout, **LIKELIHOOD)

    def loss(self, image: Tensor, context: Tensor) -> Tensor:
        return self.mechanism.loss(image, parents_of(context))

    def counterfactual(self, image: Tensor, context: Tensor, other: Tensor) -> Tensor:
        return self.mechanism.generate(self.mechanism.abduct(image, parents_of(context)), parents_of(other))


def batches(data: bool, size: int, count: int):  # type: ignore[no-untyped-def]
    """(images, context), `count` times."""
    generator = torch.Generator().manual_seed(0)
    if not data:
        for _ in range(count):
            digit = torch.eye(10)[torch.randint(10, (size,), generator=generator)]
            image = torch.rand(size, 1, 32, 32, generator=generator) * 2 - 1
            yield image, torch.cat([torch.rand(size, 2, generator=generator), digit], 1)
        return
    from counterbench import datasets

    dataset = datasets.load("morphomnist")
    values = dataset.split("train").values
    for _ in range(count):
        rows = torch.randint(len(values["image"]), (size,), generator=generator)
        encoded = {name: variable.encode(values[name][rows]) for name, variable in dataset.variables.items()}
        yield encoded["image"], torch.cat([encoded[parent.name] for parent in PARENTS], 1)


def measure(model: nn.Module, steps: int, data: bool, size: int = 128) -> tuple[float, float, float]:
    """(ms per image of a counterfactual, ms per image of a training step, loss of the last tenth of the steps)."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    spent, losses = [], []
    for step, (image, context) in enumerate(batches(data, size, steps)):
        begun = time.perf_counter()
        loss = model.loss(image, context).mean()  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 400)
        optimizer.step()
        losses.append(float(loss.detach()))
        if step > 1:
            spent.append(time.perf_counter() - begun)
    asked = []
    with torch.inference_mode():
        for step, (image, context) in enumerate(batches(data, size, 6)):
            begun = time.perf_counter()
            model.counterfactual(image, context, context.roll(1, 0))  # type: ignore[operator]
            if step > 0:
                asked.append(time.perf_counter() - begun)
    middle = [1000 * sorted(times)[len(times) // 2] / size for times in (asked, spent)]
    tail = losses[-max(1, steps // 10) :]
    return middle[0], middle[1], sum(tail) / len(tail)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--data", action="store_true")
    chosen = parser.parse_args()
    found = {}
    for name in ("literal", *OURS):
        torch.manual_seed(0)
        model = Literal() if name == "literal" else Ours(name)
        weights = sum(weight.numel() for weight in model.parameters())
        found[name] = measure(model, chosen.steps, chosen.data)
        asked, trained, loss = found[name]
        bound = f", negative bound {loss:.0f} nats after {chosen.steps} steps" if chosen.data else ""
        print(f"{name}: {weights:,} weights, counterfactual {asked:.2f} ms, training {trained:.2f} ms per image{bound}")
    for name in OURS:
        asked, trained = (literal / ours for literal, ours in zip(found["literal"][:2], found[name][:2], strict=True))
        print(f"{name} against literal: counterfactual {asked:.1f} x, training {trained:.1f} x")


if __name__ == "__main__":
    main()
