"""Training the judges of a dataset: on the split that no model sees, with seeds that no model uses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from counterbench.adapters.base import opened
from counterbench.catalog.recipes import Fit, RowsEntry, WeightingEntry
from counterbench.causal.variables import GREY_LEVELS, Continuous, Variable
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.division import divide
from counterbench.datasets.selection import selected
from counterbench.errors import ConfigError, DataError, UnknownNameError
from counterbench.judges.base import Judge
from counterbench.judges.loading import FURTHER, JUDGES
from counterbench.judges.network import columns, deviation, normalised, outputs_for, untrained
from counterbench.judges.sensitivity import sensitivity
from counterbench.networks.classifiers import ARCHITECTURES
from counterbench.plugins import registry
from counterbench.plugins.factory import make
from counterbench.runtime.blocks import at_once
from counterbench.runtime.versions import versions
from counterbench.storage.files import claimed, write_text
from counterbench.storage.weights import save_weights
from counterbench.training import loop
from counterbench.training.adaptation import for_a_short_while
from counterbench.training.augmentation import augmented
from counterbench.training.batches import fitted_to
from counterbench.training.distillation import Distillation
from counterbench.training.hardware import Hardware
from counterbench.training.histogram import fit_histogram
from counterbench.training.judge_images import joined_images, with_counterfactuals
from counterbench.training.judge_quality import calibration, looked, quality
from counterbench.training.judge_start import JudgeStart
from counterbench.training.objectives.base import Circumstances, Moment, Objective
from counterbench.training.subgroups import Subgrouped, subgrouped
from counterbench.training.weightings.base import SUBGROUP

SENSITIVITY_IMAGES = 300
"""Real test images on which the sensitivity of a judge is measured."""
FIT = Fit(
    epochs=25,
    batch_size=128,
    learning_rate=3e-3,
    weight_decay=0.02,
    warmup_steps=200,
    cosine=True,
    patience=40,
    ema_decay=0.98,  # longer than that, and the statistics of batch normalisation are those of other weights
)


@dataclass(frozen=True)
class Heads:
    """What one network is trained to tell.

    Args:
        outputs: variable -> how many outputs it has, in their order.
        scales: quantity -> its mean and standard deviation in the training images; classes are not there.
        levels: the quantities that are grey levels of the image.
    """

    outputs: Mapping[str, int]
    scales: Mapping[str, tuple[float, float]]
    levels: tuple[str, ...]

    def standardised(self, name: str, values: Tensor) -> Tensor:
        """A quantity in standard deviations from its mean."""
        mean, std = self.scales[name]
        return (values.float() - mean) / std


class JudgeObjective(Objective):
    """Cross-entropy of classes and Gaussian log-likelihood of quantities, summed over variables, on augmented images.

    Args:
        network: images -> outputs, those of one variable after those of another: logits, or mean and log deviation of a quantity.
        fit: how.
        image: name of the image.
        heads: what the network tells.
        weights: variable -> weights of its classes, (classes,).
        distillation: who teaches beside the labels; None for the labels alone.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        fit: Fit,
        *,
        image: str,
        heads: Heads,
        weights: Mapping[str, Tensor],
        distillation: Distillation | None = None,
    ):
        super().__init__(network, fit)
        self.image, self.heads, self.weights, self.distillation = image, heads, weights, distillation

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        images, targets = batch[self.image].float(), {name: batch[name] for name in self.heads.outputs}
        if moment.training:
            changed = augmented(images, moment.generator, keeps_size=bool(self.heads.scales))
            images = changed.images
            # A quantity that is a grey level changes with the pixels.
            targets |= {name: changed.level(targets[name].float()) for name in self.heads.levels}
        shown = normalised(images)
        outputs = self.module(shown)
        taught = [teacher.outputs(shown) for teacher in self.distillation.teachers] if self.distillation else []
        smoothing = 0.02 if moment.training else 0.0
        losses = []
        for name, part in columns(self.heads.outputs).items():
            seen, target = outputs[:, part], targets[name]
            if name in self.heads.scales:
                loss = quantity_loss(seen, self.heads.standardised(name, target))
            else:
                weight = self.weights[name].to(seen)
                loss = functional.cross_entropy(seen, target, weight, reduction="none", label_smoothing=smoothing)
            losses.append(self._taught(name, seen, [said[:, part] for said in taught], loss))
        return torch.stack(losses).sum(0)

    def _taught(self, name: str, outputs: Tensor, taught: Sequence[Tensor], usual: Tensor) -> Tensor:
        """The losses of a variable, with what teachers say of it."""
        if self.distillation is None:
            return usual
        if name not in self.heads.scales:
            return self.distillation.of_classes(outputs, taught, usual)
        scales = [teacher.scales[name] for teacher in self.distillation.teachers]
        return self.distillation.of_quantity(outputs, taught, usual, scale=self.heads.scales[name], scales=scales)


def quantity_loss(outputs: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of standardised values under the network's own uncertainty, (N,) (Nix & Weigend, 1994).

    Each sample's gradient is weighted by the square root of its variance (Seitzer et al., ICLR 2022, with beta .5): otherwise a
    network gives up on samples that it finds hard at first.

    Args:
        outputs: (N, 2), mean and log standard deviation.
        target: (N,).
    """
    mean, expected = outputs[:, 0], deviation(outputs)
    likelihood = 0.5 * ((target - mean) / expected).square() + expected.log()
    return expected.detach() * likelihood


def train_judges(
    datasets: Sequence[Dataset],
    labels: Sequence[str],
    *,
    output: Path,
    hardware: Hardware,
    seed: int = 7001,
    epochs: int | None = None,
    counterfactuals: int = 0,
    start: JudgeStart | None = None,
    weighting: WeightingEntry | None = None,
    distillation: Distillation | None = None,
    architectures: Sequence[str] = (),
) -> dict[str, Any]:
    """Train one network per architecture on the judge splits of one or several sources together.

    Args:
        datasets: sources of one card.
        labels: the variables to read, classes or quantities: one network has a head for each of them.
        output: folder for `<labels>-<architecture>.safetensors` and `judges.json`.
        hardware: where.
        seed: of the first architecture; the others follow.
        epochs: at most; None for the default.
        counterfactuals: how often every image of the judge split is shown once more with values of other images, where the truth can be
            rendered: what varies together in the data is told apart then.
        start: trained judges to go on from, what of them is opened, and which samples are used; None for new ones on all samples.
        weighting: how samples are weighted by subgroup, and by which subgroups errors are told; None for all alike.
        distillation: trained networks to learn from beside the labels; None for the labels alone.
        architectures: of the networks; none for all.

    Raises:
        UnknownNameError: for an architecture that there is not.

    Returns:
        Architecture -> file and SHA-256, and per variable what the card should say: options, and for every source figures on real test
        images. The file `judges.json` holds them in the card's own form; of volumes with closed forms, fitted to the same split, before them.
    """
    with claimed(output):
        return _networks(
            datasets,
            labels,
            output,
            hardware=hardware,
            seed=seed,
            epochs=epochs,
            counterfactuals=counterfactuals,
            start=start or JudgeStart({}),
            weighting=weighting,
            distillation=distillation,
            architectures=known_architectures(architectures),
        )


def known_architectures(names: Sequence[str]) -> tuple[str, ...]:
    """These architectures, or all of them; the seed of each follows from its place among all.

    Raises:
        UnknownNameError: for one that there is not.

    Examples:
        >>> known_architectures([]), known_architectures(["pooled"])
        (('plain', 'pooled', 'residual'), ('pooled',))
    """
    for name in names:
        if name not in ARCHITECTURES:
            raise UnknownNameError("judge architecture", name, ARCHITECTURES)
    return tuple(name for name in ARCHITECTURES if name in names or not names)


def _networks(
    datasets: Sequence[Dataset],
    labels: Sequence[str],
    output: Path,
    *,
    hardware: Hardware,
    seed: int,
    epochs: int | None,
    counterfactuals: int,
    start: JudgeStart,
    weighting: WeightingEntry | None,
    distillation: Distillation | None,
    architectures: Sequence[str],
) -> dict[str, Any]:
    """The same, in a folder that is this process's."""
    first = datasets[0]
    if counterfactuals and start.rows is not None:
        raise ConfigError(
            "Counterfactuals are rendered of whole splits; leave out --counterfactuals, or --where and --limit."
        )
    if counterfactuals and weighting is not None:
        raise ConfigError("Counterfactuals are in no subgroup; leave out --counterfactuals, or --by and --weighting.")
    train, validation = (
        joined_images(datasets, split, first.card.image, *labels, rows=start.rows) for split in ("judge", "validation")
    )
    heads = heads_of(first, labels, train)
    train = with_counterfactuals(datasets, "judge", train, labels, copies=counterfactuals, seed=seed)
    fit = fitted_to(FIT, train[first.card.image], epochs=epochs)
    if start.networks:
        heads = replace(heads, scales=next(iter(start.networks.values())).scales)
        fit = for_a_short_while(fit, start.learning_rate, start.steps)
    weighed = None if weighting is None else (_divided(datasets, weighting.by, start.rows), weighting)
    if weighed is not None:
        divided = weighed[0]
        train, validation = {**train, SUBGROUP: divided.train}, {**validation, SUBGROUP: divided.held_out}
    report: dict[str, Any] = {}
    for position, architecture in enumerate(ARCHITECTURES):
        if architecture not in architectures or (start.networks and architecture not in start.networks):
            continue
        folder = output / "unfinished" / architecture
        circumstances = Circumstances(
            train=train, validation=validation, folder=folder, hardware=hardware, seed=seed + position
        )
        own = replace(heads, scales=start.networks[architecture].scales) if start.networks else heads
        network, options, moved, shares = _trained(
            architecture,
            first.card.image,
            own,
            fit,
            circumstances,
            start=start,
            weighed=weighed,
            distillation=distillation,
        )
        tested = [(dataset, looked(network, dataset.split("test").values[first.card.image])) for dataset in datasets]
        path = output / f"{'-'.join(heads.outputs)}-{architecture}.safetensors"
        report[architecture] = {
            "weights": path.name,
            "sha256": save_weights(network, path),
            "opened": moved,
            "judges": _described(network, options, own, tested, validation, where=start.where),
        }
        if weighting is not None:
            report[architecture] |= {
                "shares": shares,
                "by_subgroup": _by_subgroup(report[architecture]["judges"], own, tested, weighting.by),
            }
        for name, entry in report[architecture]["judges"].items():
            judge = _as_judge(entry, first.variables[name], path, shape=train[first.card.image].shape[1:])
            entry["sensitivity"] = {dataset.source: _sensitivity(judge, dataset) for dataset in datasets}
    shutil.rmtree(output / "unfinished", ignore_errors=True)
    about = {"dataset": first.card.name, "seed": seed, "fit": fit.model_dump(), "versions": versions()}
    about |= start.described() if start.networks or start.rows else {}
    if distillation is not None:
        about["distillation"] = {
            "teachers": [teacher.sha256 for teacher in distillation.teachers],
            "temperature": distillation.temperature,
            "alpha": distillation.alpha,
        }
    if weighting is not None:
        about["weighting"] = weighting.model_dump()
        about["by_subgroup"] = {name: entry["by_subgroup"] for name, entry in report.items()}
        about["shares"] = {name: entry["shares"] for name, entry in report.items()}
    if start.networks:
        about[FURTHER] = {architecture: _further(entry) for architecture, entry in report.items()}
    listed = _for_card(report, heads)
    if (
        train[first.card.image].ndim == 5
    ):  # volumes: how much of each brightness there is says more than a network learns
        for name in heads.scales:
            listed[name].insert(0, fit_histogram(datasets, name, output))
    write_text(output / JUDGES, json.dumps({"judges": listed, **about}, indent=1))
    return report


def _trained(
    architecture: str,
    image: str,
    heads: Heads,
    fit: Fit,
    circumstances: Circumstances,
    *,
    start: JudgeStart,
    weighed: tuple[Subgrouped, WeightingEntry] | None,
    distillation: Distillation | None,
) -> tuple[torch.nn.Module, dict[str, Any], int, dict[str, float]]:
    """(a trained network, the options that a card must give to build it, how many numbers moved, how much each subgroup counts at the end)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(circumstances.seed)
        shape = circumstances.train[image].shape[1:]
        network, smaller = untrained(architecture, shape, sum(heads.outputs.values()))
        adapter = start.open(network, architecture)
        moved = opened(network)
    classes = {name: count for name, count in heads.outputs.items() if name not in heads.scales}
    weights = {name: _balance(circumstances.train[name], count) for name, count in classes.items()}
    objective = JudgeObjective(network, fit, image=image, heads=heads, weights=weights, distillation=distillation)
    if weighed is not None:
        weighed[0].weigh(objective, weighed[1])
    loop.run(objective, circumstances)
    shares = {} if weighed is None or objective.weighting is None else weighed[0].shares(objective.weighting)
    if adapter is not None:
        adapter.merge(network)
    options = {"architecture": architecture, **{name: number for name, number in smaller.items() if number > 1}}
    shared = {"heads": dict(heads.outputs)} if len(heads.outputs) > 1 else {}
    return network.cpu().eval(), options | shared, moved, shares


def _described(
    network: torch.nn.Module,
    options: Mapping[str, Any],
    heads: Heads,
    tested: Sequence[tuple[Dataset, Tensor]],
    validation: Mapping[str, Tensor],
    *,
    where: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Variable -> kind of judge, options, and figures per source on real test images; and on those that meet the conditions, where there are
    any."""
    described = {}
    seen = looked(network, validation[tested[0][0].card.image])
    for name, part in columns(heads.outputs).items():
        scale = heads.scales.get(name)
        fitted = {} if scale is None else calibration(seen[:, part], validation[name], scale)
        described[name] = {
            "judge": "classifier" if scale is None else "regressor",
            "options": {**options, **fitted},
            "quality": {
                dataset.source: quality(outputs[:, part], dataset.split("test").values[name], fitted)
                for dataset, outputs in tested
            },
        }
        if where:
            described[name]["quality_where"] = {
                dataset.source: quality(outputs[rows][:, part], dataset.split("test").values[name][rows], fitted)
                for dataset, outputs in tested
                if len(rows := selected(dataset, "test", RowsEntry(where=where)))
            }
    return described


def _divided(datasets: Sequence[Dataset], by: str, rows: RowsEntry | None) -> Subgrouped:
    """The subgroup of each sample that judges are trained on."""
    splits = ("judge", "validation")
    chosen = {split: [selected(dataset, split, rows or RowsEntry()) for dataset in datasets] for split in splits}
    return subgrouped(datasets, by, splits=splits, rows=chosen)


def _by_subgroup(
    judges: Mapping[str, Mapping[str, Any]], heads: Heads, tested: Sequence[tuple[Dataset, Tensor]], by: str
) -> dict[str, dict[str, dict[str, Any]]]:
    """Variable -> source -> subgroup -> figures on its real test images."""
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in heads.outputs}
    for dataset, outputs in tested:
        split, division = dataset.split("test"), divide(dataset, "test", by)
        for name, part in columns(heads.outputs).items():
            calibrated = judges[name]["options"] if name in heads.scales else {}
            found[name][dataset.source] = {
                subgroup: quality(outputs[rows := division.rows(number)][:, part], split.values[name][rows], calibrated)
                for number, subgroup in enumerate(division.names)
            }
    return found


def _as_judge(entry: Mapping[str, Any], variable: Variable, weights: Path, *, shape: Sequence[int]) -> Judge:
    family = registry.judges.get(entry["judge"])
    judge: Judge = make(
        f"The judge of {variable.name!r}",
        family,
        (variable,),
        {**entry["options"], "channels": shape[0], "dimensions": len(shape) - 1, "weights": weights},
    )
    return judge


def _sensitivity(judge: Judge, dataset: Dataset) -> dict[str, float]:
    size = dataset.split("test").values[dataset.card.image][0].numel()
    few = dataset.split("test").take(slice(0, at_once(size, SENSITIVITY_IMAGES, room=SENSITIVITY_IMAGES * 96**2)))
    return sensitivity(judge, few[dataset.card.image], few[judge.variable.name])


def _further(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Of a network that was trained further: how many numbers moved, and how well it reads the images that it was adapted to."""
    figures = {name: judge.get("quality_where") or judge["quality"] for name, judge in entry["judges"].items()}
    return {"opened": entry["opened"], "quality": figures}


def _for_card(report: Mapping[str, Any], heads: Heads) -> dict[str, list[dict[str, Any]]]:
    """The same as the key `judges` of a card: variable -> its judges, with their own figures."""
    return {
        name: [
            {
                **{key: value for key, value in entry["judges"][name].items() if key != "quality_where"},
                "weights": entry["weights"],
                "sha256": entry["sha256"],
                "sources": list(entry["judges"][name]["quality"]),
            }
            for entry in report.values()
        ]
        for name in heads.outputs
    }


def heads_of(dataset: Dataset, labels: Sequence[str], train: Mapping[str, Tensor]) -> Heads:
    """What a network is trained to tell of these variables, given the images that it is trained on."""
    variables = {label: dataset.variables[label] for label in labels}
    quantities = {name: variable for name, variable in variables.items() if isinstance(variable, Continuous)}
    return Heads(
        outputs={name: outputs_for(variable) for name, variable in variables.items()},
        scales={name: _scale(name, train[name]) for name in quantities},
        levels=tuple(name for name, variable in quantities.items() if variable.unit == GREY_LEVELS),
    )


def _balance(labels: Tensor, classes: int) -> Tensor:
    """Weights that make all classes count the same, (classes,): questions ask for rare ones as often as for common ones, and a
    judge that expects what is common would not see what is there."""
    shares = labels.bincount(minlength=classes).double().clamp(min=1) / len(labels)
    return (1 / (classes * shares)).float()


def _scale(name: str, values: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of a quantity.

    Raises:
        DataError: if it is the same for all samples.
    """
    mean, std = float(values.double().mean()), float(values.double().std())
    if not std > 0:
        raise DataError(
            f"{name} is {mean:g} in all {len(values)} images that its judge would learn from; it needs images that differ in it."
        )
    return mean, std
