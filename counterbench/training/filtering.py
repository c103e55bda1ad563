"""Removing images that are linked to individuals of the training data, and finding out how well that is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from counterbench import features, judges
from counterbench.audits.filtering import filter_audit
from counterbench.audits.linkage import FALSE_POSITIVES, PIXELS, best_match
from counterbench.catalog.recipes import RowsEntry
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.selection import selected
from counterbench.errors import ConfigError
from counterbench.metrics.trained_on import TrainedOn
from counterbench.recognisers.verifier import Verifier

TEST = "test"


class IndividualFilter:
    """Links images to the individuals of some training images.

    Args:
        dataset: of which card and source.
        verifier: who links: a verifier that the card pins, or `pixels`.
        seen: which training images; see :class:`counterbench.metrics.trained_on.TrainedOn`.
        false_positives: share of real images of others that are linked by chance.
        device: where it computes.

    Raises:
        ConfigError: for a share that is none, or a space that verifies nothing. UnavailableError: if the card pins no such verifier.
    """

    def __init__(
        self,
        dataset: Dataset,
        verifier: str = "contrastive",
        *,
        seen: Mapping[str, Any] | None = None,
        false_positives: float = FALSE_POSITIVES,
        device: str | torch.device = "cpu",
    ):
        if not dataset.card.image:
            raise ConfigError(f"{dataset.card.name} has no images that could be linked to anybody.")
        if not 0 < false_positives < 1:
            raise ConfigError(f"false_positives is {false_positives:g}; give a share between 0 and 1.")
        self.dataset, self.verifier, self.false_positives = dataset, verifier, false_positives
        seen = dict(seen or {})
        if "which" not in seen:  # all of them, also where metrics look at a part of large ones
            seen["which"] = f"0-{len(next(iter(dataset.attributes('train').values()))) - 1}"
        self.trained_on = TrainedOn(dataset, seen)
        self.space: Verifier | None = None
        if verifier != PIXELS:
            panels = judges.load(dataset.card, dataset.source)
            space = features.load(verifier, dataset.card, panels, device=device, source=dataset.source)
            if not isinstance(space, Verifier):
                raise ConfigError(f"{verifier!r} does not verify individuals; take contrastive, siamese, or {PIXELS}.")
            self.space = space

    @property
    def fingerprint(self) -> str:
        """What decides whom it links, beyond its training images."""
        return PIXELS if self.space is None else self.space.fingerprint

    def shown(self, images: Tensor) -> Tensor:
        """Images as they are compared, (N, ...)."""
        return images.float() if self.space is None else self.space.extract(images)

    def linked(self, images: Tensor) -> Tensor:
        """Whether images are linked to anybody, (N,).

        Args:
            images: (N, C, *sides), grey levels.
        """
        linker = self.trained_on.linker(self.space)
        best = best_match(linker.score, self.shown(images), self.trained_on.shown(self.space))
        return linker.linked(best, false_positives=self.false_positives)

    def audit(self, seed: int) -> dict[str, Any]:
        """What it lets pass and what it takes; see :func:`counterbench.audits.filtering.filter_audit`.

        Args:
            seed: of the noise on planted images.
        """
        others = selected(self.dataset, TEST, RowsEntry(where=self.trained_on.seen.get("where") or {}))
        return filter_audit(
            self.linked,
            self.trained_on.images,
            self.dataset.split(TEST).values[self.dataset.card.image][others],
            generator=torch.Generator().manual_seed(seed),
        )
