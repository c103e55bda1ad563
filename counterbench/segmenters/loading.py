"""From the segmenter that a card names to one that labels pixels."""

from __future__ import annotations

import torch

from counterbench.catalog.cards import Card
from counterbench.errors import ConfigError
from counterbench.judges.loading import JudgeContext
from counterbench.plugins import registry
from counterbench.plugins.factory import PINNED, make
from counterbench.segmenters.base import Segmenter


def load(card: Card, source: str, *, device: str | torch.device = "cpu") -> Segmenter | None:
    """The segmenter that a card pins for one of its sources, the first one that it names; None where it pins none.

    Raises:
        ConfigError: for one that does not fit. CheckpointError: for damaged weights.
    """
    usable = [entry for entry in card.segmenters if not entry.sources or source in entry.sources]
    if not usable:
        return None
    entry, parts = usable[0], card.parts
    if len(parts) < 2:
        raise ConfigError(f"Card {card.name!r} pins a segmenter, but declares no parts: give its role `mask` classes.")
    channels, *sides = card.image_shape
    context = JudgeContext(channels, len(sides), card.weights_of(entry), entry.sha256, device)
    what = f"Card {card.name!r}: the segmenter {entry.segmenter!r}"
    segmenter: Segmenter = make(
        what, registry.segmenters.get(entry.segmenter), (parts,), entry.options, context=context, needed=PINNED
    )
    return segmenter
