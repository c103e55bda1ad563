"""What a dataset promises; see :class:`counterbench.datasets.dataset.Dataset`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import torch

from counterbench import judges
from counterbench.causal.variables import Continuous
from counterbench.contracts.base import Finding, NotAskedError, require, run, same, unlike
from counterbench.datasets.dataset import Dataset
from counterbench.runtime.words import counted

COUNT = 12


def check(dataset: Dataset) -> Iterator[Finding]:
    """Check a dataset, one source of it."""
    yield from run(CHECKS, dataset, f"{dataset.card.name}/{dataset.source}")


def splits_hold_what_the_card_declares(dataset: Dataset) -> None:
    """every split holds a legal value of every variable for every sample."""
    for name in dataset.splits:
        split = dataset.split(name)
        require(
            len(split), f"the split {name!r} is empty; models need train and validation, judges judge, questions test"
        )
        declared = dataset.card.sources[dataset.source].sizes.get(name)
        require(
            declared in (None, len(split)),
            f"the card says {declared} samples in {name}, there are {len(split)}; correct `sizes` in the card",
        )
        for variable in dataset.variables.values():
            require(variable.name in split.values, f"the split {name!r} has no values of {variable.name!r}")
            count = len(split.values[variable.name])
            require(
                count == len(split),
                f"{name}: {count} values of {variable.name!r}, but {len(split)} groups; one per sample",
            )
        for start in range(0, len(split), 1000):
            for key, value in split.take(slice(start, start + 1000)).items():
                dataset.variables[key].check(value)


def quantities_lie_in_their_ranges(dataset: Dataset) -> None:
    """quantities lie in the ranges that the card declares."""
    for name in dataset.splits:
        for key, value in dataset.attributes(name).items():
            variable = dataset.variables[key]
            if isinstance(variable, Continuous):
                outside = ((value < variable.low) | (value > variable.high)).double().mean()
                require(
                    outside < 0.01,
                    f"{float(outside):.1%} of {key} in {name} lie outside of {variable.low:g} to {variable.high:g}; the range scales "
                    "what models see, so widen it in the card",
                )


def groups_stay_in_one_split(dataset: Dataset) -> None:
    """whoever is in one split is in no other."""
    groups = {name: set(dataset.split(name).group.tolist()) for name in dataset.splits}
    for one, other in combinations(groups, 2):
        both = groups[one] & groups[other]
        require(
            not both,
            f"{counted(len(both), 'groups')} (for example number {min(both, default=0)}) in {one} and in {other}; models or judges would be "
            "asked about what they have seen",
        )


def no_image_is_in_two_splits(dataset: Dataset) -> None:
    """no test image is a training image."""
    image = dataset.card.image
    if not image:
        raise NotAskedError("the dataset has no images")
    seen = {
        name: {hash(row.numpy().tobytes()) for row in dataset.split(name).values[image]} for name in ("train", "test")
    }
    both = len(seen["train"] & seen["test"])
    require(not both, f"{both} test images are training images too; take duplicates into one split")


def the_same_again(dataset: Dataset) -> None:
    """loaded again, it holds the same numbers."""
    again = type(dataset)(dataset.card, dataset.source, dataset.data_dir)
    require(
        again.split("test").fingerprint == dataset.split("test").fingerprint,
        "a second object of the same dataset has another test split; seed whatever it draws",
    )


def null_truth_is_the_image(dataset: Dataset) -> None:
    """the true answer to the null intervention is the factual sample."""
    rows = torch.arange(COUNT)
    moved = unlike(dict(dataset.split("test").take(rows)), dataset.truth("test", rows, {}), tolerance=1e-3)
    require(not moved, f"with nothing set, the truth has another {', '.join(moved)}; return the factual values")


def setting_what_is_changes_nothing(dataset: Dataset) -> None:
    """setting a variable to the value it has gives the factual image."""
    rows = torch.arange(COUNT)
    factual = dataset.split("test").take(rows)
    for name in _known(dataset):
        truth = dataset.truth("test", rows, {name: factual[name]})
        moved = unlike(dict(factual), truth, tolerance=0.02)
        require(
            not moved,
            f"do({name} = its own value) gives another {', '.join(moved)}; the renderer does not invert its own parameters exactly",
        )


def truth_follows_the_graph(dataset: Dataset) -> None:
    """an intervention changes nothing that is no descendant, and shows what was set."""
    rows = torch.arange(COUNT)
    factual = dataset.split("test").take(rows)
    for name in _known(dataset):
        held = factual[name].roll(1, 0)
        truth = dataset.truth("test", rows, {name: held})
        require(same(truth[name], held), f"the truth of do({name}) has other values of {name!r} than were set")
        reached = {name, *dataset.graph.descendants(name)}
        moved = unlike(
            {key: factual[key] for key in dataset.card.attributes if key not in reached}, truth, tolerance=1e-3
        )
        require(not moved, f"the truth of do({name}) changes {', '.join(moved)}, which no path of the graph leads to")
        for key, value in truth.items():
            dataset.variables[key].check(value)


def truth_depends_on_the_row_alone(dataset: Dataset) -> None:
    """a sample's truth is the same alone, in company and in any order."""
    rows = torch.arange(COUNT)
    for name in _known(dataset):
        held = dataset.split("test").take(rows)[name].roll(1, 0)
        whole = dataset.truth("test", rows, {name: held})
        for part in (rows.flip(0), rows[3:4]):
            alone = dataset.truth("test", part, {name: held[part]})
            moved = unlike({key: value[part] for key, value in whole.items()}, alone, tolerance=1e-4)
            require(not moved, f"the truth of do({name}) depends on its batch: {', '.join(moved)}; take noise by row")


def judges_read_real_images(dataset: Dataset) -> None:
    """its judges measure every attribute, better than a guess."""
    card = dataset.card
    if not card.image:
        raise NotAskedError("the dataset has no images")
    panels = judges.load(card, dataset.source)
    missing = [name for name in card.attributes if name not in panels]
    test = dataset.split("test").take(slice(0, 200))
    for name, reading in judges.measure_all(panels, test[card.image]).items():
        truth, measured = test[name].double(), reading.value.double()
        if reading.discrete:
            right, usual = (measured.argmax(1) == truth).double().mean(), truth.long().bincount().max() / len(truth)
            require(
                right > usual or right > 0.95,
                f"the judge of {name} is right in {float(right):.0%} of real test images, and the commonest class is as frequent",
            )
        else:
            error, usual = (measured - truth).abs().mean(), (truth - truth.median()).abs().mean()
            require(
                error < usual,
                f"the judge of {name} is {float(error):.3g} off on real test images; guessing the median is {float(usual):.3g} off",
            )
    if missing:
        raise NotAskedError(
            f"the card pins no judge of {', '.join(missing)} for this source; see counterbench train-judges"
        )


def _known(dataset: Dataset) -> list[str]:
    known = [name for name in dataset.card.intervenable if dataset.knows_truth([name])]
    if not known:
        raise NotAskedError("no intervention has a known truth; metrics that compare with it will say so")
    return known


CHECKS = (
    splits_hold_what_the_card_declares,
    quantities_lie_in_their_ranges,
    groups_stay_in_one_split,
    no_image_is_in_two_splits,
    the_same_again,
    null_truth_is_the_image,
    setting_what_is_changes_nothing,
    truth_follows_the_graph,
    truth_depends_on_the_row_alone,
    judges_read_real_images,
)
