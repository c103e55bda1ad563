"""Training the two verifiers of a dataset: on individuals of the split that no model sees, calibrated on others, tested on others again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from counterbench.audits.filtering import spread
from counterbench.audits.linkage import FALSE_POSITIVES
from counterbench.catalog.recipes import Fit
from counterbench.datasets.dataset import Dataset
from counterbench.judges.network import normalised, untrained
from counterbench.recognisers.siamese import Siamese
from counterbench.recognisers.verifier import Verifier
from counterbench.runtime import progress
from counterbench.runtime.blocks import at_once
from counterbench.runtime.versions import versions
from counterbench.storage.files import require_writable, write_text
from counterbench.storage.weights import save_weights
from counterbench.training import loop
from counterbench.training.batches import fitted_to
from counterbench.training.hardware import Hardware
from counterbench.training.objectives.base import Circumstances, Player
from counterbench.training.recogniser import FIT, SIZE, RecogniserObjective, joined_pairs, pairs_of

VERIFIERS = "verifiers.json"
"""What `train_verifiers` writes for the card."""
_BINS = 10
_PAIRS = 500
"""Individuals whose images are compared, each with each, to measure a verifier."""


class PairObjective(RecogniserObjective):
    """Is this pair one individual? Own pairs and strangers' weigh the same; of the latter, the more alike ones count more.

    Args:
        network: images -> vectors.
        fit: how.
    """

    verifier = Siamese

    def __init__(self, network: nn.Module, fit: Fit):
        super().__init__(network, fit)
        self.line = nn.Linear(1, 1)
        nn.init.constant_(self.line.weight, 4.0)
        nn.init.constant_(self.line.bias, 2.0)

    def parts(self) -> dict[str, nn.Module]:
        return {"module": self.module, "line": self.line}

    def players(self) -> Sequence[Player]:
        return [Player("train", [*self.module.parameters(), *self.line.parameters()], self.losses)]

    def of_scores(self, score: Tensor, ignored: Tensor) -> Tensor:
        odds = self.line(score[..., None])[..., 0]
        own = functional.softplus(-odds.diagonal())
        strangers = functional.softplus(odds)
        left_out = ignored | torch.eye(len(odds), dtype=torch.bool, device=odds.device)
        weight = strangers.detach().masked_fill(left_out, 0.0)
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-12)
        return own + (weight * strangers.masked_fill(left_out, 0.0)).sum(1)


OBJECTIVES: dict[str, tuple[type[RecogniserObjective], str]] = {
    "contrastive": (RecogniserObjective, "pooled"),
    "siamese": (PairObjective, "plain"),
}
"""Name of the verifier -> (how it is trained, architecture): nothing is shared, so that one can watch what the other has let pass."""


def train_verifiers(
    datasets: Sequence[Dataset], output: Path, *, hardware: Hardware, seed: int = 9101, epochs: int | None = None
) -> dict[str, Any]:
    """Train two independent verifiers on the judge splits of one or several sources together.

    Args:
        datasets: sources of one card.
        output: folder for `contrastive.safetensors`, `siamese.safetensors` and `verifiers.json`.
        hardware: where.
        seed: of weights, pairs and augmentation; the second verifier's is another.
        epochs: at most; None for the default.

    Returns:
        What the card should say under `recognisers`; figures on test individuals, whom no verifier has seen: the area under the ROC curve
        (auc), the share of strangers' pairs over the threshold (false_positives), of own pairs (sensitivity), and the mean distance of
        probabilities from frequencies (calibration_error).

    Raises:
        DataError: where no two images of anybody are known: no groups, and no truth to render one.
    """
    require_writable(output)
    reports = {}
    for number, (name, (family, architecture)) in enumerate(OBJECTIVES.items()):
        progress.say(f"verifier: {name}")
        own = seed + 1000 * number
        train, validation = (joined_pairs(datasets, split, own) for split in ("judge", "validation"))
        fit = fitted_to(FIT, train["first"], epochs=epochs)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(own)
            network, smaller = untrained(architecture, train["first"].shape[1:], SIZE)
            objective = family(network, fit)
        folder = output / "unfinished" / name
        circumstances = Circumstances(train=train, validation=validation, folder=folder, hardware=hardware, seed=own)
        loop.run(objective, circumstances)
        network = network.cpu().eval()
        path = output / f"{name}.safetensors"
        calibration = calibrated(*pair_scores(family.verifier, network, validation))
        held_out = {
            dataset.source: _quality(family.verifier, network, dataset, own, calibration) for dataset in datasets
        }
        reports[name] = {
            "options": {
                "architecture": architecture,
                "size": SIZE,
                **{key: value for key, value in smaller.items() if value > 1},
                **calibration,
            },
            "weights": path.name,
            "sha256": save_weights(network, path),
            "sources": [dataset.source for dataset in datasets],
            "quality": held_out,
        }
    shutil.rmtree(output / "unfinished", ignore_errors=True)
    about = {"dataset": datasets[0].card.name, "seed": seed, "fit": fit.model_dump(), "versions": versions()}
    write_text(output / VERIFIERS, json.dumps({"recognisers": reports, **about}, indent=1))
    return reports


def pair_scores(verifier: type[Verifier], network: nn.Module, pairs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(scores of pairs of one individual, (N,); of all pairs of two, (M,)), of at most 500 individuals, evenly spread.

    Args:
        verifier: that scores.
        network: images -> outputs.
        pairs: `first`, `second` and `group`, as of :func:`counterbench.training.recogniser.joined_pairs`.
    """
    rows = spread(torch.arange(len(pairs["group"])), _PAIRS)
    first, second = (_vectors(verifier, network, pairs[name][rows]) for name in ("first", "second"))
    group, score = pairs["group"][rows], verifier.score(first, second)
    return score.diagonal().double(), score[group[:, None] != group].double()


def _vectors(verifier: type[Verifier], network: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        parts = images.split(at_once(images[0].numel(), 500))
        return torch.cat([verifier.vectors_of(network(normalised(part.float()))) for part in parts])


def calibrated(own: Tensor, strangers: Tensor) -> dict[str, float]:
    """Slope and intercept of the logarithm of the odds (Platt 1999, both kinds of pairs weighing the same), and the score that 5 % of
    strangers' pairs reach.

    Args:
        own: (N,), scores of pairs of one individual.
        strangers: (M,), of two.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> own, strangers = torch.randn(500, generator=generator) + 2, torch.randn(9000, generator=generator)
        >>> {name: round(value, 1) for name, value in calibrated(own, strangers).items()}
        {'slope': 2.1, 'intercept': -2.2, 'threshold': 1.6}
    """
    score = torch.cat([own, strangers])
    mean, spread = float(score.mean()), float(score.std().clamp(min=1e-9))
    is_own = np.repeat([1, 0], [len(own), len(strangers)])
    line = LogisticRegression(class_weight="balanced", C=1e6).fit((score.numpy()[:, None] - mean) / spread, is_own)
    slope = float(line.coef_[0, 0]) / spread
    return {
        "slope": round(slope, 6),
        "intercept": round(float(line.intercept_[0]) - slope * mean, 6),
        "threshold": round(float(np.quantile(strangers.numpy(), 1 - FALSE_POSITIVES)), 6),
    }


def _quality(
    verifier: type[Verifier], network: nn.Module, dataset: Dataset, seed: int, calibration: dict[str, float]
) -> dict[str, float]:
    """Figures on test individuals."""
    own, strangers = pair_scores(verifier, network, pairs_of(dataset, "test", seed))
    return figures(own, strangers, **calibration)


def figures(own: Tensor, strangers: Tensor, *, slope: float, intercept: float, threshold: float) -> dict[str, float]:
    """How well a verifier tells pairs: see :func:`train_verifiers`.

    Args:
        own: (N,), scores of pairs of one individual.
        strangers: (M,), of two.
        slope, intercept, threshold: of the verifier.

    Examples:
        >>> figures(torch.tensor([2.0, 3.0]), torch.tensor([-3.0, 1.0]), slope=9.0, intercept=-13.5, threshold=0.5)
        {'auc': 1.0, 'sensitivity': 1.0, 'false_positives': 0.5, 'calibration_error': 0.0055}
    """
    own, strangers = own.double(), strangers.double()
    score = torch.cat([own, strangers])
    is_own = torch.cat([torch.ones_like(own), torch.zeros_like(strangers)])
    weight = torch.cat([torch.full_like(own, 0.5 / len(own)), torch.full_like(strangers, 0.5 / len(strangers))])
    probability = torch.sigmoid(slope * score + intercept)
    place = (probability * _BINS).long().clamp(max=_BINS - 1)
    gap = torch.zeros(_BINS, dtype=torch.float64).index_add(0, place, weight * (probability - is_own)).abs().sum()
    return {
        "auc": round(float(roc_auc_score(is_own.numpy(), score.numpy())), 4),
        "sensitivity": round(float((own >= threshold).double().mean()), 4),
        "false_positives": round(float((strangers >= threshold).double().mean()), 4),
        "calibration_error": round(float(gap), 4),
    }
