"""Random causal models as datasets: numbers instead of images, and the true counterfactual of every intervention."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from counterbench.catalog.cards import Card
from counterbench.catalog.generated import READER, SIZES
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.source import Draws, RenderedSource, Source
from counterbench.errors import ConfigError
from counterbench.plugins.registry import datasets
from counterbench.processes.scms import RandomSCM

_SEED = 20231101


class RandomModel(RenderedSource):
    """The samples of a :class:`~counterbench.processes.scms.RandomSCM`, which the options of the card's source name."""

    redraws = "samples that are in no public split"

    def __init__(self, card: Card, name: str, data_dir: Path | None):
        super().__init__(card, name, data_dir)
        options = card.sources[name].options
        try:
            self.scm = RandomSCM(**options)
        except TypeError:
            raise ConfigError(
                f"{card.name}/{name}: the reader {READER!r} needs the options kind, nodes, edges and seed, and takes hidden; given: "
                f"{', '.join(map(str, options)) or 'none'}."
            ) from None
        self._require_the_same_graph()

    def _require_the_same_graph(self) -> None:
        """What follows from a seed, and what the card says."""
        for node, variable in enumerate(self.scm.names):
            causes = {self.scm.names[parent] for parent in self.scm.parents(node)}
            if variable not in self.card.graph or causes != set(self.card.graph.parents(variable)):
                raise ConfigError(
                    f"{self.card.name}/{self.name}: by its options {variable} is caused by {', '.join(sorted(causes)) or 'nothing'}, and the "
                    "card says otherwise."
                )
        if len(self.card.graph) != self.scm.nodes:
            raise ConfigError(f"{self.card.name}/{self.name}: by its options there are {self.scm.nodes} variables.")

    def draw(self, split: str) -> Draws:
        rng = np.random.default_rng([_SEED, self.scm.seed, *self.entropy(split)])
        noise = self.scm.draw_noise(SIZES[split], rng)
        group = self.numbered(split, torch.arange(len(noise)))
        return Draws(self._values(noise, {}), group, {"noise": torch.from_numpy(noise)})

    def true_attributes(self, split: str, rows: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        noise = self.draws(split).noise["noise"][rows].numpy()
        return self._values(noise, interventions) | dict(interventions)

    def _values(self, noise: np.ndarray[Any, Any], interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        held = {name: value.double().numpy() for name, value in interventions.items()}
        kept = torch.long if self.scm.kind == "discrete" else torch.float32
        return {name: torch.from_numpy(value).to(kept) for name, value in self.scm.values(noise, held).items()}


@datasets.register()
class RandomModels(Dataset):
    """Reader of the cards `scm-KIND-N-ARROWS-SEED`, which are made from their name."""

    any_source: ClassVar[type[Source]] = RandomModel
