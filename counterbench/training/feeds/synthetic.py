"""What a trained model makes: samples of its own, or its answers. Who learns from them sees no real image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from counterbench import models
from counterbench.causal.chance import Generator, SampleNoise
from counterbench.causal.samples import Samples
from counterbench.datasets.selection import listed
from counterbench.errors import ConfigError
from counterbench.models.baselines import BASELINES
from counterbench.models.behind import everybody_behind
from counterbench.models.model import ask, can_answer, can_draw, checked_answer, draw
from counterbench.plans.drawing import other_value
from counterbench.plugins.registry import feeds
from counterbench.runtime.blocks import at_once
from counterbench.runtime.progress import bar
from counterbench.training.feeds.base import Fed, Feed, FeedContext

BLOCK = 250
_SHARE = 8
"""One held-out sample for so many training samples."""


@runtime_checkable
class CanSample(Protocol):
    """A model that draws attributes too, as structural causal models do."""

    def sample(self, count: int, interventions: Any = None, generator: Generator = None) -> dict[str, Tensor]:
        """Natural values of every variable of `count` new individuals."""
        ...


@feeds.register()
class Synthetic(Feed):
    """What a trained model makes, with the attributes that it made it for: training and held-out samples.

    Args:
        context: data, seed and device.
        model: the teacher: a recipe of the catalogue, or a folder made by training.
        count: training samples; an eighth as many are held out.
        makes: `samples`, new individuals whose attributes are drawn by the teacher too; or `answers`, its counterfactuals about the real
            rows that it was trained on, each with one variable set to another value. Answers keep what they were asked about.

    Raises:
        ConfigError: for a model that draws none, or too few samples.
    """

    real = False

    def __init__(
        self,
        context: FeedContext,
        *,
        model: str = "",
        count: int = 1000,
        makes: Literal["samples", "answers"] = "samples",
    ):
        super().__init__(context)
        if count < 2:
            raise ConfigError(f"synthetic: count is {count}; a training needs at least 2 samples.")
        if not model:
            raise ConfigError("A student needs a teacher: give --teacher FOLDER, or in a recipe the option model.")
        self.count, self.makes = count, makes
        if model in BASELINES:
            raise ConfigError(f"{model} shows real images of the dataset; a student learns from a trained model.")
        self.teacher = models.load(model, context.dataset, device=context.device)
        source = self.teacher.training.get("source")
        if source not in (None, context.dataset.source):
            raise ConfigError(
                f"{self.teacher.name} was trained on the source {source}, whose rows are others; give --source {source}."
            )
        self.behind = everybody_behind(self.teacher.training)
        if makes == "samples" and not can_draw(self.teacher.model):
            raise ConfigError(
                f"{self.teacher.name} draws no new individuals; take makes=answers, or a model that does."
            )

    @property
    def made_by(self) -> tuple[str, ...]:
        return (self.teacher.weights_sha256 or self.teacher.name,)

    def feed(self) -> Fed:
        parts = {"train": self.count, "validation": max(2, self.count // _SHARE)}
        made = {split: self._made(split, count) for split, count in parts.items()}
        return Fed(made["train"], made["validation"], about=self._about())

    def _about(self) -> dict[str, Any]:
        about: dict[str, Any] = {"teacher": self.teacher.name, "teacher_sha256": self.teacher.weights_sha256}
        return {**about, "behind": self.behind.seen, "filtered_by": list(self.behind.filtered_by)}

    def _made(self, split: str, count: int) -> dict[str, Tensor]:
        """Samples for a split, block by block; each has a stream of chance of its own."""
        image = self.context.dataset.card.image
        shape = self.context.dataset.card.image_shape if image else (1,)
        make = self._sampled if self.makes == "samples" else self._answered(split, count)
        found: list[dict[str, Tensor]] = []
        with bar(count, f"{self.teacher.name} makes samples ({split})") as advance, torch.no_grad():
            for rows in torch.arange(count).split(at_once(int(np.prod(shape)), BLOCK)):
                noise = SampleNoise(self.context.seed, [f"synthetic/{split}/{row}" for row in rows.tolist()])
                found.append(make(rows, noise))
                advance(len(rows))
        values = {name: torch.cat([part[name] for part in found]) for name in found[0]}
        if image:
            values[image] = values[image].to(torch.uint8)
        return values

    def _sampled(self, rows: Tensor, noise: SampleNoise) -> dict[str, Tensor]:
        model, variables = self.teacher.model, self.context.dataset.variables
        if isinstance(model, CanSample):
            return dict(checked_answer(model.sample(len(rows), None, noise), variables, {}, len(rows)))
        known = self.context.dataset.attributes("train")
        real = self._real_rows("train")
        chosen = real[(noise.uniform(1)[:, 0] * len(real)).long()]
        attributes = {name: value[chosen] for name, value in known.items()}
        return dict(draw(model, attributes, chosen, noise=noise, variables=variables))

    def _answered(self, split: str, count: int) -> Callable[[Tensor, SampleNoise], dict[str, Tensor]]:
        """Which questions about which real rows, drawn once; the teacher answers them block by block."""
        dataset = self.context.dataset
        names = [name for name in dataset.card.intervenable if can_answer(self.teacher.model, [name])]
        if not names:
            raise ConfigError(f"{self.teacher.name} answers no question of {dataset.card.name}.")
        rng = np.random.default_rng([self.context.seed, *split.encode()])
        real = self._real_rows("train")  # held-out answers too: real held-out images are nobody's business either
        asked = real[torch.from_numpy(rng.integers(len(real), size=count))]
        which = torch.from_numpy(rng.integers(len(names), size=count))
        known = dataset.attributes("train")
        wanted = {name: other_value(dataset.variables[name], known[name][asked], known[name], rng) for name in names}

        def answer(rows: Tensor, noise: SampleNoise) -> dict[str, Tensor]:
            factual = dataset.split("train").take(asked[rows])
            found = {name: value.clone() for name, value in factual.items()}
            for number, name in enumerate(names):
                here = (which[rows] == number).nonzero()[:, 0]
                if not len(here):
                    continue
                given = Samples({key: value[here] for key, value in factual.items()}, asked[rows][here])
                keys = [f"answers/{split}/{row}" for row in rows[here].tolist()]
                streams = SampleNoise(self.context.seed, keys)
                held = {name: wanted[name][rows[here]]}
                answered = ask(self.teacher.model, given, held, noise=streams, variables=dataset.variables)
                for key, value in answered.items():
                    found[key][here] = value.to(found[key].dtype)
            return found

        return answer

    def _real_rows(self, split: str) -> Tensor:
        """The real rows behind the teacher."""
        seen = self.behind.seen or {}
        if "which" in seen:
            return listed(str(seen["which"]))
        return torch.arange(len(next(iter(self.context.dataset.attributes(split).values()))))
