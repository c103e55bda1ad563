"""Memorisation: does a counterfactual show an image that the model was trained on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from counterbench.audits.copies import minimum_cosine_distance, nearest
from counterbench.metrics.answers import Answers
from counterbench.metrics.base import NOT_NEGATIVE, SHARE, Cell, SampleMetric, Setting
from counterbench.plugins.registry import metrics

SPACE = "judge"


@metrics.register()
class Memorisation(SampleMetric):
    """Share of answers that are copies of training images, or nearer to one than to their own factual image.

    Args:
        setting: what is asked.
        seen: which rows of the training split the model was trained on, as its manifest says (`which`, and the conditions `where` that held-out
            images have to meet too); None for what it says itself, else the whole split.
        spaces: feature spaces of the cosine distance.

    Examples:
        >>> import torch
        >>> from counterbench.causal.graph import CausalGraph
        >>> setting = Setting(CausalGraph({"width": [], "image": ["width"]}), {}, "image", ("width",), (), cycles=1, with_truth=())
        >>> Memorisation(setting).cells
        []
    """

    title = "Memorisation"
    of_privacy = True
    also = ("copies",)
    asks = frozenset({"single"})
    seen_option = "seen"
    definition = (
        "Distance between two images: the largest root mean square difference over a grid of 4 x 4 tiles (4 x 4 x 4 in volumes), in grey levels. Copied: share of "
        "answers whose nearest training image is as near as that of the nearest 1 % of held-out real images, so that a model that memorised "
        "nothing scores about .01 and a replay of training images 1. Nearer to somebody else: share of answers that are nearer to a training image than to their "
        "own factual image. Neighbour ratio: mean distance to the nearest training image by mean distance to the nearest of as many held-out images. "
        "Cosine distance: mean of 1 - cosine to the most similar training image in a feature space (AMD), 0 for a replay."
    )
    formula = (
        r"$P\big(\min_{t} d(x^*, t) \le q_{.01}\big)$; $P\big(\min_t d(x^*, t) < d(x^*, x)\big)$; "
        r"$\mathbb{E} \min_t d(x^*, t) \,/\, \mathbb{E} \min_h d(x^*, h)$; $\mathbb{E} \min_t \big(1 - \cos(f(x^*), f(t))\big)$"
    )
    blind_to = (
        "Whether the change was made: returning the input copies nobody. Read it beside effectiveness. A model that changes much is nearer to somebody else more often, "
        "whether it memorised or not: the truth's own share is the reference. Cosine distance alone misranks models; where features ignore who somebody "
        "is, everybody is near."
    )
    source = (
        "Carlini et al., USENIX Security 2023 (distance over tiles); Bai et al., 2021 (AMD); the threshold calibrated on held-out images is ours: with a fixed one, "
        "models that never saw the training images are found guilty."
    )

    def __init__(self, setting: Setting, *, seen: Mapping[str, Any] | None = None, spaces: Sequence[str] = (SPACE,)):
        self.seen, self.spaces = seen, tuple(spaces)
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        if self.setting.references is None:
            return []
        cells = []
        spaces = self.available(self.spaces)
        for name in self.setting.intervenable:
            cells += [
                Cell(
                    "copied",
                    "",
                    "lower",
                    name,
                    bounds=SHARE,
                    preserves=True,
                    worst=1.0,
                    label="copies of training images",
                ),
                Cell(
                    "stranger",
                    "",
                    "lower",
                    name,
                    bounds=SHARE,
                    of_identity=0.0,
                    preserves=True,
                    worst=1.0,
                    label="nearer to somebody else",
                ),
                Cell("neighbour_ratio", "", "one", name, role="diagnosis", bounds=NOT_NEGATIVE, worst=1.0),
            ]
            cells += [
                Cell("cosine_distance", "", "higher", name, space=space, role="detail", bounds=(0.0, 2.0), worst=0.0)
                for space in spaces
            ]
        return cells

    def update(self, answers: Answers) -> None:
        cells = [cell for cell in self.cells if cell.intervened_names == answers.intervened]
        if answers.kind != "single" or not cells:
            return
        assert self.setting.references is not None
        trained_on = self.setting.references.trained_on(self.seen)
        images, own = answers.view.images, answers.batch.view.images
        distance, _ = nearest(images, trained_on.images)
        for cell in cells:
            if cell.quantity == "copied":
                self.add(cell, answers.index, (distance <= trained_on.threshold).double())
            elif cell.quantity == "stranger":
                self.add(cell, answers.index, (distance < trained_on.from_own(images, own)).double())
            elif cell.quantity == "neighbour_ratio":
                near = (nearest(images, part)[0] for part in (trained_on.as_many, trained_on.as_many_held_out))
                self.add(cell, answers.index, next(near), relative_to=next(near))
            else:
                shown = answers.view.features(cell.space)
                known = trained_on.features(self.setting.spaces[cell.space])
                self.add(cell, answers.index, minimum_cosine_distance(shown, known))
