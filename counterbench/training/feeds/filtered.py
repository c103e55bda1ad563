"""What a trained model makes, without what is linked to an individual that it was trained on (Fernandez et al. 2023)."""

from __future__ import annotations

from typing import Literal

from counterbench.audits.linkage import FALSE_POSITIVES
from counterbench.errors import ConfigError
from counterbench.plugins.registry import feeds
from counterbench.training.feeds.base import Fed, FeedContext
from counterbench.training.feeds.synthetic import Synthetic
from counterbench.training.filtering import IndividualFilter

_FEWEST = 2
"""Samples that a training needs."""


@feeds.register()
class Filtered(Synthetic):
    """Samples of a trained model that a verifier links to nobody whom the model was trained on.

    The filter is audited on planted near-duplicates and on real images of others; the manifest says what was found. It is no differential privacy.

    Args:
        context: data, seed and device.
        model: the teacher.
        count: training samples before filtering.
        makes: `samples` or `answers`.
        verifier: who links: a verifier that the card pins, or `pixels`.
        false_positives: share of real images of others that are removed; a larger one removes more.

    Raises:
        ConfigError: for a share that is none, or if nothing is left. UnavailableError: if the card pins no such verifier.
    """

    def __init__(
        self,
        context: FeedContext,
        *,
        model: str = "",
        count: int = 1000,
        makes: Literal["samples", "answers"] = "samples",
        verifier: str = "contrastive",
        false_positives: float = FALSE_POSITIVES,
    ):
        super().__init__(context, model=model, count=count, makes=makes)
        self.filter = IndividualFilter(
            context.dataset, verifier, seen=self.behind.seen, false_positives=false_positives, device=context.device
        )

    @property
    def made_by(self) -> tuple[str, ...]:
        return (*super().made_by, self.filter.fingerprint)

    def feed(self) -> Fed:
        fed = super().feed()
        kept, counts = {}, {}
        for split, values in (("train", fed.train), ("validation", fed.validation)):
            linked = self.filter.linked(values[self.context.dataset.card.image])
            made, removed = len(linked), int(linked.sum())
            if made - removed < _FEWEST:
                raise ConfigError(
                    f"The filter {self.filter.verifier!r} has removed {removed} of {made} samples ({split}): the teacher shows hardly anybody but those whom it was "
                    "trained on. Raise count, or train the teacher on more."
                )
            counts[split] = {"made": made, "removed": removed}
            kept[split] = {name: value[~linked] for name, value in values.items()}
        about = {
            **fed.about,
            "filtered_by": [*self.behind.filtered_by, self.filter.verifier],
            "filter": {
                "verifier": self.filter.verifier,
                "false_positives": self.filter.false_positives,
                **counts,
                "audit": self.filter.audit(self.context.seed),
            },
        }
        return Fed(kept["train"], kept["validation"], about=about)
