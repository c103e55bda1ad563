"""Grounding: does the model look for a phrase where it is?"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from counterbench.metrics.answers import Answers
from counterbench.metrics.base import Cell, SampleMetric, Setting
from counterbench.metrics.localisation import INTENSITY, RANDOM, SCORES, in_boxes, random_map, score_cell
from counterbench.plugins.registry import metrics

UNTRAINED = "untrained network"


@metrics.register()
class Grounding(SampleMetric):
    """Agreement between where a model looks for the caption of an image and the box (Vilouras et al. 2024).

    Args:
        setting: what is asked.
        steps: of the inversion of an image, from data to noise.
        window: times between which attention is read, 0 noise to 1 data.
        layers: attention layers that count; None for all.
        words: which words of a caption count: all, or those that name its subject.
        reads: the weights of attention; what is `heard`, the norm of what attention adds; or how the `prediction` changes without the caption.
        smoothing: of the map, standard deviation in 64ths of the image's side.
        cut: whether what is below Otsu's threshold becomes 0.

    Examples:
        >>> from counterbench.causal.graph import CausalGraph
        >>> graph = CausalGraph({"lesion": [], "image": ["lesion"]})
        >>> setting = Setting(graph, {}, "image", ("lesion",), (), cycles=1, with_truth=(), boxed=("lesion",), captioned=True)
        >>> [cell.quantity for cell in Grounding(setting).cells if not cell.space]
        ['auc', 'contrast', 'overlap', 'pointing']
    """

    title = "Grounding"
    asks = frozenset({"null"})
    null_cycles = 1
    needs_model = True
    formula = r"$h = \frac{1}{|L| |W|} \sum_{l, w} \mathrm{minmax}\big(\overline{A_{l, w}(x_t, t)}_{t \in [.4, .6]}\big)$, $R$ the box: as $m$ in `localisation`"
    definition = (
        "The image is inverted by the field that is told nothing; in a window of times the network is asked with the caption, and its cross-attention to the words "
        "(or, by the option `reads`, the norm of what attention adds at a place, which the suite `localisation` takes, or how the prediction changes without the caption) "
        "is averaged over time, scaled from 0 to 1 word by word, averaged over layers and words, smoothed and cut by Otsu's threshold. Quantities that a caption speaks of are told by number as well. The map is held against the "
        "box as in `localisation`: area under the ROC curve, signed contrast to noise, overlap, pointing. Beside it the same of the network before its training, of the image's own intensity, and of a random map. "
        "Images without a box are left out, and models that read no captions have no number."
    )
    blind_to = (
        "Whether an answer changes anything there: that is `localisation`. The model was trained on captions of such images, so this is no grounding by a foundation model. A "
        "network may hear a word elsewhere than where its attention is largest."
    )
    source = "Vilouras et al. 2024, with the signed contrast; the untrained network and the intensity beside it: this project."

    def __init__(
        self,
        setting: Setting,
        *,
        steps: int = 300,
        window: tuple[float, float] = (0.4, 0.6),
        layers: tuple[str, ...] | None = None,
        words: Literal["all", "subject"] = "all",
        reads: Literal["weights", "heard", "prediction"] = "weights",
        smoothing: float = 2.5,
        cut: bool = True,
    ):
        self.rule = {
            "steps": steps,
            "window": window,
            "layers": layers,
            "words": words,
            "reads": reads,
            "smoothing": smoothing,
            "cut": cut,
        }
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        if not self.setting.boxed or not self.setting.captioned:
            self.skipped[self.name] = "the dataset has no boxes, or no captions of varied wording, for this source"
            return []
        beside = (UNTRAINED, INTENSITY, RANDOM)
        return [score_cell(name, space=space) for space in ("", *beside) for name in SCORES]

    def update(self, answers: Answers) -> None:
        if answers.kind != "null" or answers.cycles != 1 or not self.cells or answers.batch.grounding is None:
            return
        boxes, captions = answers.batch.regions.boxes, answers.batch.regions.captions
        if boxes is None or captions is None:
            return
        images, grounding = answers.batch.view.images, answers.batch.grounding
        inside = in_boxes(boxes, images.shape[2:])
        self._score(answers, grounding.trained(captions, self.rule), inside)
        self._score(answers, grounding.untrained(captions, self.rule), inside, space=UNTRAINED)
        self._score(answers, images.double().mean(1), inside, space=INTENSITY)
        self._score(answers, random_map(images[:, 0], answers.index), inside, space=RANDOM)

    def _score(self, answers: Answers, maps: Tensor, inside: Tensor, *, space: str = "") -> None:
        known = inside.flatten(1).any(1) & ~inside.flatten(1).all(1)
        rows = torch.arange(len(maps))[known]
        for name, score in SCORES.items():
            self.add(score_cell(name, space=space), answers.index[rows], score(maps[rows], inside[rows]))
