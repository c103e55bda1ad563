"""Where the training of judges starts when it is no random start: judges that were trained before, and what of them is opened."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from counterbench.catalog.recipes import AdaptEntry, RowsEntry
from counterbench.datasets.dataset import Dataset
from counterbench.errors import CheckpointError, ConfigError
from counterbench.judges.loading import JUDGES
from counterbench.judges.network import outputs_for, untrained
from counterbench.models.adaptation import made
from counterbench.storage.weights import load_weights
from counterbench.training.distillation import Teacher

CARD = "card"
"""Instead of a folder: the judges that the dataset's card pins."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A network that was trained to judge.

    Args:
        weights: its file.
        sha256: of the file.
        scales: quantity -> the mean and the standard deviation in which it speaks.
    """

    weights: Path
    sha256: str
    scales: Mapping[str, tuple[float, float]]

    def put_into(self, network: nn.Module) -> None:
        """Give a network of the same architecture these weights.

        Raises:
            CheckpointError: if they are missing, damaged or of another architecture.
        """
        load_weights(network, self.weights, sha256=self.sha256)


@dataclass(frozen=True)
class JudgeStart:
    """How judges are trained further.

    Args:
        networks: architecture -> what it starts from; empty for random weights of every architecture.
        adapt: what is opened; None for everything.
        rows: which samples of a split are used; None for all.
        learning_rate: None for that of new judges.
        steps: at most; None for that of new judges.
    """

    networks: Mapping[str, TrainedNetwork]
    adapt: AdaptEntry | None = None
    rows: RowsEntry | None = None
    learning_rate: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.adapt is not None and not self.networks:
            raise ConfigError(
                f"--adapt opens a part of trained judges; name them with --init FOLDER, or --init {CARD}."
            )

    @property
    def where(self) -> Mapping[str, Any]:
        """The conditions that samples must meet; empty for none."""
        return self.rows.where if self.rows else {}

    def described(self) -> dict[str, Any]:
        """The same as plain data, for the report."""
        return {
            "init": {name: network.sha256 for name, network in self.networks.items()},
            "adapt": self.adapt.model_dump(mode="json", exclude_none=True) if self.adapt else None,
            "rows": self.rows.model_dump(mode="json") if self.rows else None,
        }

    def open(self, network: nn.Module, architecture: str) -> Any:
        """Give a network its start and open what is trained; returns the adapter to merge in the end, or None.

        Raises:
            ConfigError: for an adapter that cannot be merged: a judge is pinned as plain weights.
        """
        if architecture in self.networks:
            self.networks[architecture].put_into(network)
        if self.adapt is None:
            return None
        adapter = made(self.adapt, f"The adapter {self.adapt.kind!r}")
        if not adapter.mergeable:
            raise ConfigError(
                f"The adapter {adapter.name!r} cannot be merged, and judges are plain weights; choose another one."
            )
        adapter.open(network)
        return adapter


def teachers(
    init: str, dataset: Dataset, labels: Sequence[str], *, architectures: Collection[str] | None = None
) -> list[Teacher]:
    """Trained networks to learn from.

    Args:
        init: a folder made by `train-judges`, or `card` for the judges that the card pins.
        dataset: of which card and source.
        labels: the variables, in the order of the networks' outputs.
        architectures: only these; None for all there are.

    Raises:
        CheckpointError: for a folder that holds no judges. ConfigError: if no network reads just these variables.
    """
    shape = dataset.card.image_shape
    found = []
    for architecture, trained in trained_judges(init, dataset, labels, flag="--teacher").items():
        if architectures is not None and architecture not in architectures:
            continue
        network, _ = untrained(architecture, shape, sum(outputs_for(dataset.variables[label]) for label in labels))
        trained.put_into(network)
        found.append(Teacher(network.eval().requires_grad_(False), trained.scales, trained.sha256))
    return found


def trained_judges(
    init: str, dataset: Dataset, labels: Sequence[str], *, flag: str = "--init"
) -> dict[str, TrainedNetwork]:
    """Architecture -> the network that read these variables before.

    Args:
        init: a folder made by `train-judges`, or `card` for the judges that the card pins.
        dataset: of which card and source.
        labels: the variables, in the order of the network's outputs.
        flag: where they were named, for messages.

    Raises:
        CheckpointError: for a folder that holds no judges. ConfigError: if no network reads just these variables.
    """
    listed = _of_card(dataset, labels[0]) if init == CARD else _of_folder(Path(init), labels[0])
    found = {}
    for options, weights, sha256 in listed:
        heads = list(options.get("heads", {labels[0]: None}))
        if heads != list(labels):
            continue
        scales = {}
        for label in labels:
            others = _of_card(dataset, label) if init == CARD else _of_folder(Path(init), label)
            own = next(other for other, path, _ in others if path == weights)
            if "mean" in own:
                scales[label] = (float(own["mean"]), float(own["std"]))
        found[options["architecture"]] = TrainedNetwork(weights, sha256, scales)
    if not found:
        raise ConfigError(
            f"{flag} {init} has no trained network that reads {', '.join(labels)} and nothing else, in this order."
        )
    return found


def _of_card(dataset: Dataset, label: str) -> Sequence[tuple[Mapping[str, Any], Path, str]]:
    """(options, weights, hash) of every network that a card pins for a variable and this source."""
    listed = []
    for entry in dataset.card.judges.get(label, ()):
        path = dataset.card.weights_of(entry)
        here = not entry.sources or dataset.source in entry.sources
        if here and path is not None and entry.sha256 is not None and "architecture" in entry.options:
            listed.append((entry.options, path, entry.sha256))
    return listed


def _of_folder(folder: Path, label: str) -> Sequence[tuple[Mapping[str, Any], Path, str]]:
    try:
        entries = json.loads((folder / JUDGES).read_text(encoding="utf-8"))["judges"][label]
        return [
            (entry["options"], folder / entry["weights"], entry["sha256"])
            for entry in entries
            if "architecture" in entry["options"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} holds no judges of {label!r} made by train-judges ({error}).") from error
