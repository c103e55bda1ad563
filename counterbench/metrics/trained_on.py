"""The images that a model was trained on, and as many that it was not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from counterbench.audits.copies import copy_threshold, minimum_cosine_distance, nearest, tile_distance
from counterbench.audits.filtering import spread
from counterbench.audits.linkage import Linker, best_match, pixel_score
from counterbench.catalog.recipes import RowsEntry
from counterbench.datasets.cache import remembered
from counterbench.datasets.dataset import REFERENCE_NUMBERS, UNSEEN, Dataset
from counterbench.datasets.selection import listed, selected
from counterbench.datasets.split import Split
from counterbench.errors import ConfigError
from counterbench.features.base import FeatureSpace
from counterbench.metrics.vectors import vectors_of
from counterbench.recognisers.verifier import Verifier
from counterbench.runtime.blocks import at_once

HELD_OUT = 1000
"""Held-out images at most."""
FILTERED_BY = "filtered_by"
"""Of what a model was trained on: the verifiers that have removed some of it."""
_BLOCK = 500


class TrainedOn:
    """What copies are copies of.

    Args:
        dataset: whose training split.
        seen: `which`, rows of it in words, `where`, conditions that held-out images have to meet too, and `filtered_by`, verifiers that have removed some;
            all may be left out. None for the whole split (of large volumes, as many as fit into memory).

    Raises:
        ConfigError: for rows that the split does not have, or if no held-out image meets the conditions.

    Examples:
        >>> from counterbench import datasets
        >>> few = TrainedOn(datasets.load("morphomnist"), {"which": "0-9"})
        >>> len(few.images), len(few.held_out), len(few.as_many)
        (10, 1000, 10)
    """

    def __init__(self, dataset: Dataset, seen: Mapping[str, Any] | None = None):
        self.dataset, self.seen = dataset, dict(seen or {})
        if unknown := sorted(self.seen.keys() - {"which", "where", FILTERED_BY}):
            raise ConfigError(
                f"seen has an unknown key {unknown[0]!r}; give which (rows), where (conditions) and filtered_by (verifiers)."
            )
        self._features: dict[FeatureSpace, Tensor] = {}
        self._held_out_distance: dict[FeatureSpace, float] = {}
        self._linkers: dict[FeatureSpace | None, Linker] = {}

    @cached_property
    def rows(self) -> Tensor:
        """Which rows of the training split they are, (M,), ascending."""
        images = self.dataset.split("train").values[self.dataset.card.image]
        if "which" not in self.seen:
            most = at_once(images[0].numel(), len(images), room=REFERENCE_NUMBERS)
            return torch.arange(most) if most == len(images) else self.dataset.reference_rows(most)
        rows = listed(str(self.seen["which"]))
        if int(rows.max()) >= len(images):
            raise ConfigError(f"seen: there is no row {int(rows.max())}; the training split has {len(images)}.")
        return rows

    @cached_property
    def images(self) -> Tensor:
        """The training images, (M, C, *sides), grey levels as bytes."""
        images = self.dataset.split("train").values[self.dataset.card.image]
        return images if len(self.rows) == len(images) else images[self.rows]

    @cached_property
    def group(self) -> Tensor:
        """Whose they are, (M,)."""
        return self.dataset.split("train").group[self.rows]

    @cached_property
    def attributes(self) -> dict[str, Tensor]:
        """Their attributes, natural values, (M,) each."""
        return {name: value[self.rows] for name, value in self.dataset.attributes("train").items()}

    @cached_property
    def held_out(self) -> Tensor:
        """Real images that no model was trained on, and that meet the same conditions, (H, C, *sides)."""
        return self._meeting(UNSEEN)

    @cached_property
    def of_others(self) -> Tensor:
        """Real images of the validation split that meet the same conditions, (H, C, *sides): neither models nor verifiers were trained on them."""
        return self._meeting("validation")

    def _meeting(self, split: str) -> Tensor:
        rows = selected(self.dataset, split, RowsEntry(where=self.seen.get("where") or {}))
        return spread(self.dataset.split(split).values[self.dataset.card.image][rows], HELD_OUT)

    @cached_property
    def as_many_held_out(self) -> Tensor:
        """Held-out images, as many as :attr:`as_many`."""
        return spread(self.held_out, len(self.as_many))

    @cached_property
    def as_many(self) -> Tensor:
        """Training images, no more than there are held-out ones, (<= H, C, *sides)."""
        return spread(self.images, len(self.held_out))

    @cached_property
    def threshold(self) -> float:
        """The distance up to which an image counts as a copy."""
        return copy_threshold(nearest(self.held_out, self.images)[0])

    def held_out_distance(self, space: FeatureSpace) -> float:
        """The mean least cosine distance of held-out images to a training image: the AMD of whoever memorised nothing."""

        def measured() -> float:
            size = at_once(self.held_out[0].numel(), _BLOCK)
            shown = torch.cat([space.extract(part) for part in self.held_out.split(size)])
            return float(minimum_cosine_distance(shown, self.features(space)).mean())

        return remembered(self._held_out_distance, space, measured)

    @staticmethod
    def from_own(images: Tensor, own: Tensor) -> Tensor:
        """How far each image is from the one that it answers, (N,), float64."""
        pairs = [tile_distance(one[None], other[None])[0] for one, other in zip(images, own, strict=True)]
        return torch.cat(pairs).double()

    def linker(self, space: FeatureSpace | None) -> Linker:
        """Who links images to these.

        Args:
            space: a verifier of individuals, or None for nearest neighbours in pixels.
        """

        def calibrated() -> Linker:
            others = self.of_others
            if space is None:
                return Linker(pixel_score, best_match(pixel_score, others.float(), self.images))
            assert isinstance(space, Verifier)
            size = at_once(others[0].numel(), _BLOCK)
            shown = torch.cat([space.extract(part) for part in others.split(size)])
            return Linker(space.score, best_match(space.score, shown, self.features(space)))

        return remembered(self._linkers, space, calibrated)

    def shown(self, space: FeatureSpace | None) -> Tensor:
        """The training images as such a linker sees them, (M, ...)."""
        return self.images if space is None else self.features(space)

    def features(self, space: FeatureSpace) -> Tensor:
        """The training images as vectors, (M, D)."""

        def extracted() -> Tensor:
            image = self.dataset.card.image
            return vectors_of(Split("trained on", {image: self.images}, self.group), image, space)

        return remembered(self._features, space, extracted)
