"""A batch of samples with a model's answers, as every metric sees it, and what judges and feature spaces read in the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from counterbench.causal.samples import Samples
from counterbench.features.base import FeatureSpace, cosine_distance
from counterbench.judges import Reading
from counterbench.plans.question import Cause, Kind, Question

L1 = "l1"
_SPAN = 0.05
"""Of the data's contrast: with less, images are not in grey levels."""
_BEYOND = 32
"""Grey levels below 0 or above 255 that a careless decoder may reach."""


def l1(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference per image.

    Args:
        first: (N, C, H, W), grey levels 0-255. Unsigned bytes are widened first: their differences wrap around.
        second: the same shape.

    Returns:
        (N,), float64, in grey levels.

    Examples:
        >>> l1(torch.zeros(2, 1, 1, 2), torch.tensor([[[[0.0, 8.0]]], [[[1.0, 1.0]]]])).tolist()
        [4.0, 1.0]
    """
    return (first.double() - second.double()).abs().flatten(1).mean(1)


def wrong_scale(reach: Sequence[float]) -> str:
    """What is odd about the pixels of some answers: probably another scale than grey levels; empty if nothing is.

    Args:
        reach: darkest and brightest pixel of the answers, then of the images that they are about.

    Examples:
        >>> wrong_scale([-0.42, 2.8, 0, 255])
        'its images span 3.22 grey levels where the data span 255: were they meant as 0 to 1, or normalised? Grey levels are 0 to 255'
    """
    low, high, factual_low, factual_high = reach
    span, due = high - low, factual_high - factual_low
    if due >= 10 and 0 < span < _SPAN * due:
        return (
            f"its images span {span:.3g} grey levels where the data span {due:.3g}: were they meant as 0 to 1, or normalised? "
            "Grey levels are 0 to 255"
        )
    if low < -_BEYOND or high > 255 + _BEYOND:
        return f"its images reach from {low:.4g} to {high:.4g}; grey levels are 0 to 255"
    return ""


def picture(values: Mapping[str, Tensor], image: str) -> Tensor:
    """The images among some values, (N, C, H, W); nothing, (0,), for a dataset without images.

    Examples:
        >>> tuple(picture({"image": torch.zeros(2, 1, 4, 4)}, "image").shape), tuple(picture({}, "").shape)
        ((2, 1, 4, 4), (0,))
    """
    return values[image] if image else torch.empty(0)


def same_images(first: Tensor, second: Tensor) -> bool:
    """Whether two batches are equal pixel by pixel, so that nobody has to look at both.

    Examples:
        >>> same_images(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4).byte())
        True
    """
    return first.shape == second.shape and torch.equal(first.to(second.dtype), second)


@dataclass(frozen=True)
class Instruments:
    """What looks at images: judges and feature spaces.

    Args:
        measure: the judges: images -> what they read, by variable.
        spaces: feature spaces by name.

    Examples:
        >>> brightest = Instruments(lambda images: {"width": Reading(images.amax((1, 2, 3))[None])})
        >>> brightest.measure(torch.full((2, 1, 4, 4), 7.0))["width"].value.tolist()
        [7.0, 7.0]
    """

    measure: Callable[[Tensor], Mapping[str, Reading]] = lambda images: {}
    spaces: Mapping[str, FeatureSpace] = field(default_factory=dict)
    segment: Callable[[Tensor], Tensor] | None = None
    """Images -> which part every pixel shows, (N, *sides), long; None where nobody says that."""


class View:
    """Some images with everything that is seen in them, worked out once, when somebody asks.

    Args:
        images: (N, C, H, W), grey levels.
        instruments: who looks.
        group: (N,), the independent unit of each image (see :class:`counterbench.datasets.split.Split`); None where that is not known.

    Examples:
        >>> black, grey = (View(torch.full((1, 1, 4, 4), level), Instruments()) for level in (0.0, 128.0))
        >>> black.distance("l1", grey).tolist()
        [128.0]
    """

    def __init__(self, images: Tensor, instruments: Instruments, *, group: Tensor | None = None):
        self.images, self.instruments, self.group = images, instruments, group
        self._features: dict[str, Tensor] = {}

    @cached_property
    def measured(self) -> Mapping[str, Reading]:
        """What the judges read."""
        return self.instruments.measure(self.images)

    @cached_property
    def parts(self) -> Tensor | None:
        """Which part every pixel shows, (N, *sides), long, as a segmenter sees it; None where there is none."""
        return None if self.instruments.segment is None else self.instruments.segment(self.images)

    def features(self, space: str) -> Tensor:
        """Vectors in a feature space, (N, D), float32."""
        if space not in self._features:
            self._features[space] = self.instruments.spaces[space].extract(self.images)
        return self._features[space]

    def distance(self, name: str, other: View) -> Tensor:
        """How far these images are from those, pair by pair, (N,), float64: `l1` in grey levels, else a feature space's."""
        if name == L1:
            return l1(self.images, other.images)
        space = self.instruments.spaces[name]
        if type(space).distance is FeatureSpace.distance:
            return cosine_distance(self.features(name), other.features(name))
        return space.distance(self.images, other.images)


@dataclass(frozen=True)
class PhraseMaps:
    """A model that can be asked where a phrase is.

    Args:
        trained: (phrases, one for each image of the batch; options of the rule by which attention becomes a map) -> a heat map for each,
            (N, *sides), float64, from 0 to 1.
        untrained: the same of the same network before its training.

    Examples:
        >>> def nowhere(phrases, rule):
        ...     return torch.zeros(len(phrases), 4, 4)
        >>> tuple(PhraseMaps(nowhere, nowhere).trained(["a lesion"], {}).shape)
        (1, 4, 4)
    """

    trained: Callable[[Sequence[str], Mapping[str, Any]], Tensor]
    untrained: Callable[[Sequence[str], Mapping[str, Any]], Tensor]


@dataclass(frozen=True)
class NoiseSample:
    """Exogenous noise as one model sees it.

    Args:
        abducted: "variable.part" -> (N, D), inferred from the factual samples.
        prior: the same, drawn from the model's prior.

    Examples:
        >>> noise = NoiseSample(abducted={"width.u": torch.zeros(2, 1)}, prior={"width.u": torch.ones(2, 1)})
        >>> sorted(noise.abducted)
        ['width.u']
    """

    abducted: Mapping[str, Tensor]
    prior: Mapping[str, Tensor]


@dataclass(frozen=True)
class Drawing:
    """A model that makes new individuals, for metrics that ask for more of them than the plan does.

    Args:
        draw: (natural values of all attributes, (N,) each; names of N streams of chance) -> images, (N, C, *sides), grey levels.
        noise_norm: (images, their attributes, names of streams) -> how much the attributes move the noise that the model takes to be in
            them, (N,); None for a model that predicts no noise.

    Examples:
        >>> grey = Drawing(lambda attributes, streams: torch.full((len(streams), 1, 4, 4), 128.0))
        >>> tuple(grey.draw({}, ["a", "b"]).shape), grey.noise_norm
        ((2, 1, 4, 4), None)
    """

    draw: Callable[[Mapping[str, Tensor], Sequence[str]], Tensor]
    noise_norm: Callable[[Tensor, Mapping[str, Tensor], Sequence[str]], Tensor] | None = None


class Regions:
    """Where things are in the observed images and in their true counterfactuals, as far as the dataset knows.

    Args:
        mask: the parts of the observed images, (N, *sides), numbers of the card's parts; gives None where nobody knows them.
        boxes: (N, 4), left, top, right, bottom in pixels, NaN where there is none; gives None where nobody knows them.
        captions: a sentence about each image; gives None where there are none.
        true_mask: the parts of the true answers to a question; gives None where nobody knows them.

    Examples:
        >>> regions = Regions(mask=lambda: torch.ones(2, 4, 4))
        >>> tuple(regions.mask.shape), regions.boxes
        ((2, 4, 4), None)
    """

    def __init__(
        self,
        *,
        mask: Callable[[], Tensor | None] = lambda: None,
        boxes: Callable[[], Tensor | None] = lambda: None,
        captions: Callable[[], Sequence[str] | None] = lambda: None,
        true_mask: Callable[[Question], Tensor | None] = lambda question: None,
    ):
        self._mask, self._boxes, self._captions, self.true_mask = mask, boxes, captions, true_mask

    @cached_property
    def mask(self) -> Tensor | None:
        """The parts of the observed images."""
        return self._mask()

    @cached_property
    def boxes(self) -> Tensor | None:
        """What is boxed in the observed images."""
        return self._boxes()

    @cached_property
    def captions(self) -> Sequence[str] | None:
        """Sentences about the observed images."""
        return self._captions()


class Batch:
    """Some samples that are asked about, with what all questions about them share.

    Args:
        factual: what was observed.
        image: name of the image variable; empty where there is none.
        instruments: who looks at images.
        view: the factual images with what was seen in them already.
        null: the model's answer to one null intervention; None where it is not asked.
        matched: intervened variable -> real images with the counterfactual attributes of the plan, one each.
        noise: the model's exogenous noise; None for a model that has none.
        shake: images of these samples -> the same with a little noise, moved by a part of a pixel; the same for whoever answers.
        held_out: real images that no model was trained on, one with the attributes of each sample.
        drawing: the model's way to make new individuals; None where it has none.
        regions: where things are in these images.
        grounding: phrases about these images -> where the model looks for them, (N, *sides); None for a model that reads no phrases.

    Examples:
        >>> factual = Samples({"image": torch.zeros(2, 1, 4, 4)}, index=torch.tensor([5, 6]))
        >>> batch = Batch(factual, "image", null=lambda: {"image": torch.ones(2, 1, 4, 4)})
        >>> batch.view.distance("l1", batch.null).tolist()
        [1.0, 1.0]
    """

    def __init__(
        self,
        factual: Samples,
        image: str,
        *,
        instruments: Instruments | None = None,
        view: View | None = None,
        null: Callable[[], Mapping[str, Tensor]] | None = None,
        matched: Callable[[str], View] | None = None,
        noise: Callable[[], NoiseSample | None] | None = None,
        shake: Callable[[Tensor], Tensor] | None = None,
        held_out: Callable[[], View] | None = None,
        drawing: Drawing | None = None,
        regions: Regions | None = None,
        grounding: PhraseMaps | None = None,
    ):
        self.regions, self.grounding = regions or Regions(), grounding
        self.factual, self.image = factual, image
        self.instruments = instruments or Instruments()
        self.view = view or View(picture(factual, image), self.instruments)
        self._null, self._matched, self._noise = null, matched, noise
        self._shake, self._held_out, self.drawing = shake, held_out, drawing

    @property
    def index(self) -> Tensor:
        """(N,), rows of the test split."""
        return self.factual.index

    def look_at(self, images: Tensor) -> View:
        """A view of images; of the factual ones, the view that is there already."""
        return self.view if same_images(images, self.view.images) else View(images, self.instruments)

    def shaken(self, view: View) -> View | None:
        """A view of images of these samples, one each, after a small perturbation; None where there is none."""
        if self._shake is None:
            return None
        if view is self.view:
            return self._shaken
        return View(self._shake(view.images), self.instruments)

    @cached_property
    def _shaken(self) -> View:
        assert self._shake is not None
        return View(self._shake(self.view.images), self.instruments)

    @property
    def null_values(self) -> Mapping[str, Tensor] | None:
        """All variables after one null intervention."""
        return None if self._null is None else self._null()

    @cached_property
    def null(self) -> View | None:
        """The image after one null intervention."""
        return None if self.null_values is None else self.look_at(picture(self.null_values, self.image))

    def matched(self, variable: str) -> View | None:
        """Real images with the attributes that the plan's intervention on `variable` gives these samples."""
        return None if self._matched is None else self._matched(variable)

    @property
    def held_out(self) -> View | None:
        """Real images that no model was trained on, one with the attributes of each sample; None where nobody gave any."""
        return None if self._held_out is None else self._held_out()

    @cached_property
    def noise(self) -> NoiseSample | None:
        """The model's exogenous noise behind these samples, and as much from its prior."""
        return None if self._noise is None else self._noise()


@dataclass(frozen=True)
class Answers:
    """A model's answers to one question about a batch of samples.

    Args:
        batch: the samples.
        question: what was asked; of a pair, the order in which `values` came about.
        values: natural values of every variable, (N, ...).
        targets: what attributes should be: of what is set, the value set; of its descendants, the true value where it is known, else
            that of the dataset's reference SCM; of everything else, and where there is neither, the factual value.
        truth: the true answer, where there is one.
        other: for a pair, the answer when the order is exchanged.
        cost: what the answer cost, per sample.
        own: of real images that stand for answers, their own attributes: these should be seen in them, not the targets.
        drawn: number of a draw -> the answer with that draw's chance, (N, ...) of every variable; None where there are no other draws.
        others: the answers of other trainings of the same recipe; nothing where one training is asked.

    Examples:
        >>> from counterbench.plans.question import Question
        >>> batch = Batch(Samples({"image": torch.zeros(2, 1, 4, 4)}, index=torch.tensor([5, 6])), "image")
        >>> answers = Answers(batch, Question("single", batch.index, "width"), {"image": torch.ones(2, 1, 4, 4)})
        >>> answers.view.distance("l1", batch.view).tolist()
        [1.0, 1.0]
    """

    batch: Batch
    question: Question
    values: Mapping[str, Tensor]
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    truth: Mapping[str, Tensor] | None = None
    other: Mapping[str, Tensor] | None = None
    cost: Mapping[str, float] = field(default_factory=dict)
    own: Mapping[str, Tensor] | None = None
    drawn: Callable[[int], Mapping[str, Tensor]] | None = None
    others: Sequence[Mapping[str, Tensor]] = ()

    @property
    def kind(self) -> Kind:
        """Of the question."""
        return self.question.kind

    @property
    def intervened(self) -> tuple[str, ...]:
        """Which variables are set, in this order; none for the null intervention."""
        return self.question.intervened

    @property
    def cause(self) -> Cause:
        """What is set, as cells name it."""
        return self.question.cause

    @property
    def cycles(self) -> int:
        """How often the null intervention has been composed; 0 for other questions."""
        return self.question.cycle

    @property
    def wanted(self) -> Mapping[str, Tensor]:
        """The values that are set, by variable."""
        return self.question.held

    @property
    def expected(self) -> Mapping[str, Tensor]:
        """What judges should see in the images: the targets; in real images, their own attributes."""
        return self.targets if self.own is None else self.own

    @property
    def factual(self) -> Samples:
        return self.batch.factual

    @property
    def index(self) -> Tensor:
        """(N,), rows of the test split."""
        return self.batch.index

    @cached_property
    def view(self) -> View:
        """The answered images."""
        return self.batch.look_at(picture(self.values, self.batch.image))

    @cached_property
    def shaken(self) -> View | None:
        """The answered images after a small perturbation."""
        return self.batch.shaken(self.view)

    @cached_property
    def true_parts(self) -> Tensor | None:
        """The parts of the true images, (N, *sides): as the dataset knows them, else as a segmenter sees them; None where neither is there."""
        known = self.batch.regions.true_mask(self.question)
        if known is not None or self.truth is None:
            return known
        return self.true_view.parts

    @cached_property
    def other_view(self) -> View:
        """The answered images when the order is exchanged."""
        assert self.other is not None
        return self.batch.look_at(picture(self.other, self.batch.image))

    @cached_property
    def true_view(self) -> View:
        """The true images."""
        assert self.truth is not None
        image = picture(self.truth, self.batch.image)
        return self.view if same_images(image, self.view.images) else self.batch.look_at(image)
