"""`gan-published` against a literal implementation of the published bidirectional GAN, in one run, on this machine.

    python benchmarks/speed/gan.py [--steps 12]

The literal one follows the 2024 benchmark's description of its MorphoMNIST model: the digit enters as an embedding that is drawn as a map,
thickness and intensity as constant maps; encoder 32-16-8-4-2, generator 1-3-8-15-29-32, a discriminator of image, latent and both. Ours has as many
weights within a few per cent; context enters as numbers, and the last stage of the generator makes patches of 2 x 2 pixels.

Printed: weights of encoder, generator and discriminator, milliseconds per image for a counterfactual, and for a training step of all three
(the discriminator on a real and a generated pair, then encoder and generator against it), ratios.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from hvae import IMAGE, PARENTS, batches, parents_of
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as judged

from counterbench.mechanisms.gan import GAN
from counterbench.models.loading import find_recipe

LATENT = 512


def count(*parts: nn.Module) -> int:
    """Weights."""
    return sum(weight.numel() for part in parts for weight in part.parameters())


class Literal(nn.Module):
    """The published networks."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 256)
        self.draw = nn.Sequential(nn.Upsample(scale_factor=2), nn.Tanh())
        encoder: list[nn.Module] = []
        for before, after, kernel in ((4, 64, 3), (64, 128, 4), (128, 256, 4), (256, 512, 4)):
            encoder += [nn.Conv2d(before, after, kernel, 2, 1), nn.LeakyReLU(0.2)]
        self.encoder = nn.Sequential(*encoder, nn.Conv2d(512, LATENT, 1, 2))
        generator: list[nn.Module] = []
        for before, after, kernel, stride, padding in (
            (LATENT + 258, 512, 3, 1, 0),
            (512, 256, 4, 2, 0),
            (256, 128, 3, 2, 1),
            (128, 64, 3, 2, 1),
        ):
            generator += [nn.ConvTranspose2d(before, after, kernel, stride, padding), nn.LeakyReLU(0.2)]
        self.generator = nn.Sequential(*generator, nn.ConvTranspose2d(64, 1, 4), nn.Tanh())
        image: list[nn.Module] = []
        for before, after, kernel, stride in (
            (4, 32, 5, 1),
            (32, 64, 4, 2),
            (64, 128, 4, 1),
            (128, 256, 4, 2),
            (256, 512, 4, 1),
        ):
            image += [
                nn.Dropout2d(0.2),
                nn.Conv2d(before, after, kernel, stride),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.1),
            ]
        latent: list[nn.Module] = []
        for _ in range(2):
            latent += [nn.Dropout2d(0.2), nn.Conv2d(512, 512, 1), nn.LeakyReLU(0.1)]
        self.seen, self.known = nn.Sequential(*image), nn.Sequential(*latent)
        self.both = nn.Sequential(
            nn.Conv2d(1024, 1024, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(1024, 1024, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(1024, 1, 1),
        )

    def weights(self) -> tuple[int, int, int]:
        return count(self.encoder, self.embedding), count(self.generator), count(self.seen, self.known, self.both)

    def _maps(self, image: Tensor, context: Tensor) -> Tensor:
        digit = self.draw(self.embedding(context[:, 2:].argmax(1)).view(-1, 1, 16, 16))
        rest = context[:, :2, None, None].expand(-1, -1, *image.shape[2:])
        return torch.cat([image, digit, rest], 1)

    def encode(self, image: Tensor, context: Tensor) -> Tensor:
        latent: Tensor = self.encoder(self._maps(image, context))
        return latent

    def decode(self, latent: Tensor, context: Tensor) -> Tensor:
        code = torch.cat([self.embedding(context[:, 2:].argmax(1)), context[:, :2]], 1)[:, :, None, None]
        image: Tensor = self.generator(torch.cat([latent, code], 1))
        return image

    def judge(self, image: Tensor, latent: Tensor, context: Tensor) -> Tensor:
        seen = self.seen(self._maps(image, context))
        logit: Tensor = self.both(torch.cat([seen, self.known(latent)], 1)).flatten()
        return logit

    def drawn(self, size: int) -> Tensor:
        return torch.randn(size, LATENT, 1, 1)


class Ours(nn.Module):
    """The recipe's networks."""

    def __init__(self) -> None:
        super().__init__()
        options = find_recipe("gan-published", "morphomnist")[0].mechanisms["image"].options
        self.mechanism = GAN(IMAGE, PARENTS, **options)
        self.opponent = self.mechanism.make_discriminator()

    def weights(self) -> tuple[int, int, int]:
        mechanism = self.mechanism
        return count(mechanism.encoder), count(mechanism.generator, mechanism.paint), count(self.opponent)

    def encode(self, image: Tensor, context: Tensor) -> Tensor:
        return self.mechanism.encode(image, self.mechanism.context(parents_of(context), image))

    def decode(self, latent: Tensor, context: Tensor) -> Tensor:
        return self.mechanism.decode(latent, self.mechanism.context(parents_of(context), latent))

    def judge(self, image: Tensor, latent: Tensor, context: Tensor) -> Tensor:
        logit: Tensor = self.opponent(image, latent, self.mechanism.context(parents_of(context), image))
        return logit

    def drawn(self, size: int) -> Tensor:
        return torch.randn(size, LATENT)


def step(model: Any, image: Tensor, context: Tensor) -> None:
    """Gradients of the discriminator, then of encoder and generator."""
    ones = torch.ones(len(image))
    latent = model.drawn(len(image))
    encoded, made = model.encode(image, context), model.decode(latent, context)
    real = judged(model.judge(image, encoded.detach(), context), ones)
    false = judged(model.judge(made.detach(), latent, context), 0 * ones)
    (real + false).backward()
    fooled = judged(model.judge(image, encoded, context), 0 * ones) + judged(model.judge(made, latent, context), ones)
    fooled.backward()
    model.zero_grad()


def measure(model: Any, steps: int, size: int = 128) -> tuple[float, float]:
    """(ms per image of a counterfactual, ms per image of a training step), medians."""
    asked, trained = [], []
    for image, context in batches(False, size, steps):
        begun = time.perf_counter()
        step(model, image, context)
        trained.append(time.perf_counter() - begun)
        with torch.inference_mode():
            begun = time.perf_counter()
            model.decode(model.encode(image, context), context.roll(1, 0))
            asked.append(time.perf_counter() - begun)
    asked_for, trained_for = (1000 * sorted(times)[len(times) // 2] / size for times in (asked, trained))
    return asked_for, trained_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    steps = parser.parse_args().steps
    found = {}
    for name, make in (("literal", Literal), ("gan-published", Ours)):
        torch.manual_seed(0)
        model: Any = make()
        encoder, generator, opponent = model.weights()
        found[name] = measure(model, steps)
        told = f"{encoder + generator + opponent:,} weights ({encoder:,} + {generator:,} + {opponent:,})"
        print(f"{name}: {told}, counterfactual {found[name][0]:.2f} ms, training {found[name][1]:.2f} ms per image")
    asked, trained = (literal / ours for literal, ours in zip(*found.values(), strict=True))
    print(f"gan-published against literal: counterfactual {asked:.1f} x, training {trained:.1f} x")


if __name__ == "__main__":
    main()
