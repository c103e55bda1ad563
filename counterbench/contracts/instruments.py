"""What judges and feature spaces promise; see :class:`counterbench.judges.base.Judge` and :class:`counterbench.features.base.FeatureSpace`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from counterbench import features, judges, segmenters
from counterbench.causal.variables import Continuous, Variable
from counterbench.contracts.base import Finding, NotAskedError, require, run, same
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError, CounterbenchError
from counterbench.features.base import FeatureSpace
from counterbench.judges.base import Judge
from counterbench.plugins import registry
from counterbench.segmenters import Segmenter

COUNT = 8


@dataclass(frozen=True)
class Sight:
    """Something that looks at images.

    Args:
        instrument: a judge, a segmenter or a feature space.
        images: (N, C, H, W), real test images.
    """

    instrument: Judge | Segmenter | FeatureSpace
    images: Tensor

    @property
    def look(self) -> Callable[[Tensor], Tensor]:
        if isinstance(self.instrument, Segmenter):
            return self.instrument.probabilities
        return self.instrument.measure if isinstance(self.instrument, Judge) else self.instrument.extract


def check_judge(name: str, dataset: Dataset) -> Iterator[Finding]:
    """Check the judge `name` on real images: as the dataset's card makes it, else with its default options."""
    images = _images(dataset)
    members = [
        (variable, member)
        for variable, panel in judges.load(dataset.card, dataset.source).items()
        for member in panel.members
        if type(member) is registry.judges.get(name)
    ]
    if not members:
        members = list(_default_judges(name, dataset))
    if not members:
        advice = f"it measures no variable of {dataset.card.name}; give another --dataset"
        yield Finding("measures a variable", dataset.card.name, "not asked", advice)
    for variable, member in members:
        yield from run(JUDGE_CHECKS, Sight(member, images), variable)


def _default_judges(name: str, dataset: Dataset) -> Iterator[tuple[str, Judge]]:
    family = registry.judges.get(name)
    for variable in dataset.variables.values():
        if variable.kind in family.kinds and variable.kind != "image":
            try:
                yield variable.name, family(variable)
            except (TypeError, CounterbenchError):
                continue  # it needs options, which a card gives it


def check_segmenter(name: str, dataset: Dataset) -> Iterator[Finding]:
    """Check the segmenter `name` on real images, where the card pins one."""
    images = _images(dataset)
    segmenter = segmenters.load(dataset.card, dataset.source)
    if segmenter is None or type(segmenter) is not registry.segmenters.get(name):
        advice = (
            f"{dataset.card.name} pins no segmenter {name!r}; give another --dataset, or make one with train-segmenter"
        )
        yield Finding("finds parts", dataset.card.name, "not asked", advice)
        return
    yield from run(SEGMENTER_CHECKS, Sight(segmenter, images), dataset.card.name)


def check_feature(name: str, dataset: Dataset) -> Iterator[Finding]:
    """Check the feature space or recogniser `name` on real images."""
    images = _images(dataset)
    try:
        space = features.load(name, dataset.card, judges.load(dataset.card, dataset.source))
    except CounterbenchError as why:
        yield Finding("can be loaded", dataset.card.name, "not asked", str(why))
        return
    yield from run(FEATURE_CHECKS, Sight(space, images), dataset.card.name)


def _images(dataset: Dataset) -> Tensor:
    if not dataset.card.image:
        raise ConfigError(f"{dataset.card.name} has no images to look at; give another --dataset.")
    images: Tensor = dataset.split("test").take(slice(0, COUNT))[dataset.card.image]
    return images


def says_what_decides_it(sight: Sight) -> None:
    """its fingerprint is a text that says what decides its answers."""
    mark = sight.instrument.fingerprint
    require(
        isinstance(mark, str) and mark, "return the hash of its weights, or its formula, as a text from `fingerprint`"
    )
    require(mark == sight.instrument.fingerprint, "`fingerprint` changes between two calls")


def no_result_depends_on_the_batch(sight: Sight) -> None:
    """each image's result depends on that image alone."""
    whole = sight.look(sight.images)
    alone = torch.cat([sight.look(sight.images[i : i + 1]) for i in range(len(sight.images))])
    backwards = sight.look(sight.images.flip(0)).flip(0)
    require(
        same(whole, alone, tolerance=1e-4) and same(whole, backwards, tolerance=1e-4),
        "an image gets another result alone than among others; put networks into eval mode, and normalise nothing over the batch",
    )


def the_same_again(sight: Sight) -> None:
    """the same image gets the same result again."""
    first = sight.look(sight.images)
    torch.manual_seed(1)
    require(torch.equal(first, sight.look(sight.images)), "it draws: put networks into eval mode, and seed the rest")


def judge_gives_what_it_says(sight: Sight) -> None:
    """measures a number per image, or probabilities of the classes, also where there is nothing to see."""
    assert isinstance(sight.instrument, Judge)
    variable: Variable = sight.instrument.variable
    for images in (sight.images, torch.zeros_like(sight.images), torch.full_like(sight.images, 255.0)):
        reading = sight.instrument.measure(images)
        require(
            reading.dtype == torch.float32 and reading.isfinite().all(),
            "return finite numbers, also for an empty image",
        )
        if isinstance(variable, Continuous):
            require(
                reading.shape == (len(images),),
                f"return (N,) numbers in {variable.unit or 'its unit'}, not {tuple(reading.shape)}",
            )
            continue
        require(
            reading.ndim == 2 and reading.shape[1] >= 2,
            f"return (N, K) probabilities of the classes of {variable.name}, not {tuple(reading.shape)}",
        )
        require(
            (reading >= 0).all() and torch.allclose(reading.sum(1), torch.ones(len(reading)), atol=1e-3),
            "class probabilities must be between 0 and 1 and add up to 1 for each image",
        )


def space_gives_vectors(sight: Sight) -> None:
    """gives a finite vector per image."""
    assert isinstance(sight.instrument, FeatureSpace)
    if not sight.instrument.vectors:
        raise NotAskedError("it knows distances only")
    vectors = sight.instrument.extract(sight.images)
    require(vectors.ndim == 2 and len(vectors) == COUNT, f"return (N, D), not {tuple(vectors.shape)}")
    require(vectors.isfinite().all(), "its vectors are not finite")


def space_measures_distances(sight: Sight) -> None:
    """an image is 0 from itself, and as far from another as the other from it."""
    assert isinstance(sight.instrument, FeatureSpace)
    space, images = sight.instrument, sight.images
    require(float(space.distance(images, images).abs().max()) < 1e-5, "an image has a distance from itself")
    forth, back = space.distance(images, images.flip(0)), space.distance(images.flip(0), images)
    require(forth.shape == (COUNT,), f"distance must return (N,), not {tuple(forth.shape)}")
    require(same(forth, back, tolerance=1e-4), "the distance there is not the distance back")
    require((forth >= 0).all(), "a distance is negative")


def segmenter_gives_shares(sight: Sight) -> None:
    """says for every pixel how likely each part is, also where there is nothing to see."""
    assert isinstance(sight.instrument, Segmenter)
    for images in (sight.images, torch.zeros_like(sight.images), torch.full_like(sight.images, 255.0)):
        shares = sight.instrument.probabilities(images)
        wanted = (len(images), len(sight.instrument.parts), *images.shape[2:])
        require(shares.shape == wanted, f"return {wanted}, not {tuple(shares.shape)}")
        require(
            (shares >= 0).all() and torch.allclose(shares.sum(1), torch.ones(()), atol=1e-3),
            "shares must be between 0 and 1 and add up to 1 at every pixel",
        )


SEGMENTER_CHECKS = (says_what_decides_it, segmenter_gives_shares, no_result_depends_on_the_batch, the_same_again)
JUDGE_CHECKS = (says_what_decides_it, judge_gives_what_it_says, no_result_depends_on_the_batch, the_same_again)


def _batch_free(sight: Sight) -> None:
    """each image's vector depends on that image alone."""
    assert isinstance(sight.instrument, FeatureSpace)
    if not sight.instrument.vectors:
        raise NotAskedError("it knows distances only")
    no_result_depends_on_the_batch(sight)


FEATURE_CHECKS = (says_what_decides_it, space_gives_vectors, space_measures_distances, _batch_free)
