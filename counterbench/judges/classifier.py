"""A trained classifier as a judge."""

from __future__ import annotations

from torch import Tensor

from counterbench.judges.network import NetworkJudge
from counterbench.plugins.registry import judges


@judges.register()
class Classifier(NetworkJudge):
    """Class probabilities of a pinned network; arguments are those of :class:`counterbench.judges.network.NetworkJudge`."""

    kinds = ("binary", "categorical", "ordinal")

    @property
    def fingerprint(self) -> str:
        return f"classifier sha256={self.sha256}"

    def _measure(self, seen: Tensor) -> Tensor:
        return seen[:, self.columns].softmax(1)
