"""The feature space of the dataset's pinned judge."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from counterbench.errors import UnavailableError
from counterbench.features.base import FeatureSpace
from counterbench.judges import Panel
from counterbench.judges.classifier import Classifier
from counterbench.judges.network import NetworkJudge, normalised
from counterbench.plugins.registry import features


@features.register()
class JudgeFeatures(FeatureSpace):
    """The layer below the output of a trained judge: it is always at hand, and knows these images.

    Args:
        variable: whose judge, of classes or of a quantity; None for the first variable whose classes a trained one tells.
        member: which of its trained judges.
        panels: the judges of the dataset.
        card: name of the dataset, for messages.

    Raises:
        UnavailableError: if the dataset has no trained judge.
    """

    title = "features of the dataset's pinned judge"

    def __init__(self, variable: str | None = None, member: int = 0, *, panels: Mapping[str, Panel], card: str = ""):
        kind = NetworkJudge if variable else Classifier
        trained = {
            name: [judge for judge in panel.members if isinstance(judge, kind)]
            for name, panel in panels.items()
            if variable in (None, name)
        }
        found = next((judges for judges in trained.values() if len(judges) > member), None)
        if found is None:
            raise UnavailableError(f"the dataset {card!r} has no trained judge whose features could be used")
        self.judge = found[member]
        self.network, self.head = _split(self.judge.network)

    @property
    def fingerprint(self) -> str:
        return f"features of {self.judge.fingerprint}"

    def _extract(self, images: Tensor) -> Tensor:
        hidden: Tensor = self.network(normalised(images.to(self.judge.device)))
        return hidden


def _split(network: nn.Module) -> tuple[nn.Module, nn.Linear]:
    """(everything below the last linear layer, that layer); together they are the network."""
    parts = _flat(network)
    head = parts[-1]
    assert isinstance(head, nn.Linear), "these networks end with a linear layer"
    return nn.Sequential(*parts[:-1]).eval(), head


def _flat(network: nn.Module) -> list[nn.Module]:
    """The layers of a network that is one chain of children."""
    children = list(network.children())
    if isinstance(network, nn.Sequential) or (children and not isinstance(network, nn.Linear)):
        return [layer for child in children for layer in _flat(child)]
    return [network]
