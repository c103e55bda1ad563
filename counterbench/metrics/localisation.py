"""Localisation: did the image change where it truly changes?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from counterbench.causal.chance import SampleNoise
from counterbench.metrics.answers import Answers
from counterbench.metrics.base import SHARE, Cell, SampleMetric, Setting
from counterbench.metrics.statistics.maps import CONTRAST_LIMIT, auc, contrast, overlap, pointing
from counterbench.plans.question import ALONE, Cause, names_of
from counterbench.plugins.registry import metrics

LEVELS = 2.0
"""Grey levels by which a pixel must truly change to count."""
SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "auc": auc,
    "contrast": contrast,
    "overlap": overlap,
    "pointing": pointing,
}
RANDOM, INTENSITY, BOX = "random map", "image intensity", "box"


def score_cell(name: str, intervened: Cause = "", *, space: str = "", role: str = "headline") -> Cell:
    """The cell of a score of maps.

    Args:
        name: of the score.
        intervened: what is set.
        space: what else than the model's map is scored, or against what else than the true change.
        role: of the cell.

    Examples:
        >>> score_cell("auc").of_identity, score_cell("contrast").bounds
        (0.5, (-10.0, 10.0))
    """
    bounds = (-CONTRAST_LIMIT, CONTRAST_LIMIT) if name == "contrast" else SHARE
    nothing = {"auc": 0.5}.get(name, 0.0)
    labels = {"auc": "area under the ROC curve", "contrast": "signed contrast to noise", "overlap": "overlap (mIoU)"}
    return Cell(
        name,
        "",
        "higher",
        intervened,
        space=space,
        bounds=bounds,
        worst=bounds[0],
        role="detail" if space or role == "detail" else "headline",
        of_identity=nothing if not space or space == BOX else None,
        label=labels.get(name, "") + (f", {space}" if space and name in labels else ""),
    )


def changed(first: Tensor, second: Tensor) -> Tensor:
    """|first - second|, mean over the channels: (N, C, *sides) -> (N, *sides), float64.

    Examples:
        >>> changed(torch.zeros(1, 3, 1, 1), torch.full((1, 3, 1, 1), 4.0)).tolist()
        [[[4.0]]]
    """
    return (first.double() - second.double()).abs().mean(1)


@metrics.register()
class Localisation(SampleMetric):
    """Agreement between where an answer changes the image and where the truth does (scores of Vilouras et al. 2024, contrast signed).

    Args:
        setting: what is asked.
        levels: grey levels by which a pixel must truly change to be inside the region.

    Examples:
        >>> from counterbench.plans.question import Question
        >>> from counterbench.causal import graph, samples, variables
        >>> from counterbench.metrics import answers, base
        >>> setting = base.Setting(
        ...     graph.CausalGraph({"width": [], "image": ["width"]}),
        ...     {"width": variables.Continuous("width", 0, 8, "px"), "image": variables.Image("image", 1, 2, 2)},
        ...     image="image", intervenable=("width",), judged=(), cycles=1, with_truth=("width",),
        ... )
        >>> factual = samples.Samples({"width": torch.tensor([2.0]), "image": torch.zeros(1, 1, 2, 2)}, torch.tensor([0]))
        >>> metric, batch = Localisation(setting), answers.Batch(factual, "image")
        >>> answer, truth = ({**factual, "image": torch.tensor([[[pixels, [0.0, 0.0]]]])} for pixels in ([9.0, 1.0], [8.0, 0.0]))
        >>> metric.update(answers.Answers(batch, Question("single", batch.index, "width"), answer, truth=truth))
        >>> {c.cell.quantity: round(c.point(), 2) for c in metric.compute() if not c.cell.space}
        {'auc': 1.0, 'contrast': 10.0, 'overlap': 0.9, 'pointing': 1.0}
    """

    title = "Localisation"
    asks = frozenset(ALONE)
    formula = (
        r"$m = |x^* - x|$, $R = \{p : |x_\text{true} - x|_p \ge 2\}$: $P(m_{p \in R} > m_{q \notin R})$, "
        r"$(\bar m_R - \bar m_{\bar R}) / \sqrt{s_R^2 + s_{\bar R}^2}$, mean over $t$ of $\mathrm{IoU}(\{m \ge t\}, R)$, $\arg\max m \in R$"
    )
    definition = (
        "The map of change |x* - x|, mean over the channels, is compared with the pixels that truly change by two grey levels or more: area under the ROC "
        "curve; signed contrast to noise, at most 10 either way; intersection over union with the map, scaled from 0 to 1, cut at .1, .2, .3, .4 and .5, their "
        "mean; whether the largest change lies inside. The same of a random map and of the image's own intensity stand beside; with boxes, against the box. Images in which nothing truly changes, "
        "or everything does, are left out; an answer that changes nothing has a constant map: area .5, contrast 0, overlap 0, pointing 0."
    )
    blind_to = (
        "How much changes, and into what: a map that is right in every place can belong to an answer that is wrong in every pixel. Where the truth changes nearly "
        "every pixel, as when a brain shrinks, the region says little."
    )
    source = "Scores: Vilouras et al. 2024 (contrast by its absolute value there); the true change as the region: this project."

    def __init__(self, setting: Setting, *, levels: float = LEVELS):
        self.levels = levels
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        cells = []
        causes: tuple[Cause, ...] = (*self.setting.with_truth, *self.setting.joint_with_truth)
        if not causes:
            self.skipped[self.name] = "no true counterfactual image is known"
        for cause in causes:
            cells += [score_cell(name, cause) for name in SCORES]
            cells += [score_cell(name, cause, space=floor) for floor in (RANDOM, INTENSITY) for name in SCORES]
            if set(names_of(cause)) <= set(self.setting.boxed):
                cells += [score_cell(name, cause, space=BOX) for name in SCORES]
        return cells

    def update(self, answers: Answers) -> None:
        if answers.truth is None or answers.kind not in ALONE:
            return
        image = answers.batch.image
        factual = answers.factual[image]
        inside = changed(answers.truth[image], factual) >= self.levels
        known = inside.flatten(1).any(1) & ~inside.flatten(1).all(1)
        moved = changed(answers.values[image], factual)
        self._score(answers, moved, inside, known)
        self._score(answers, random_map(moved, answers.index), inside, known, space=RANDOM)
        self._score(answers, factual.double().mean(1), inside, known, space=INTENSITY)
        boxes = answers.batch.regions.boxes
        if boxes is not None and any(cell.intervened == answers.cause and cell.space == BOX for cell in self.cells):
            boxed = in_boxes(boxes, moved.shape[1:])
            self._score(answers, moved, boxed, known & boxed.flatten(1).any(1), space=BOX)

    def _score(self, answers: Answers, maps: Tensor, inside: Tensor, known: Tensor, *, space: str = "") -> None:
        for name, score in SCORES.items():
            cell = score_cell(name, answers.cause, space=space)
            if cell in self.cells:
                self.add(cell, answers.index[known.cpu()], score(maps[known], inside[known]))


def random_map(like: Tensor, index: Tensor) -> Tensor:
    """Independent numbers, uniform on [0, 1), the same for a row of the test split whoever is asked: (N, *sides), float64.

    Examples:
        >>> tuple(random_map(torch.zeros(2, 4, 4), torch.tensor([3, 5])).shape)
        (2, 4, 4)
    """
    return SampleNoise(0, [f"random map/{row}" for row in index.tolist()]).uniform(*like.shape[1:]).to(like.device)


def in_boxes(boxes: Tensor, sides: Sequence[int]) -> Tensor:
    """Which pixels lie in a box: (N, 4) left, top, right, bottom -> (N, *sides), bool; none where a box is NaN, of a volume all depths.

    Examples:
        >>> in_boxes(torch.tensor([[1.0, 0.0, 3.0, 1.0]]), (2, 3)).long().tolist()
        [[[0, 1, 1], [0, 0, 0]]]
    """
    left, top, right, bottom = (edge[:, None, None] for edge in boxes.double().unbind(1))
    y, x = torch.arange(sides[-2])[None, :, None] + 0.5, torch.arange(sides[-1])[None, None, :] + 0.5
    flat = (x > left) & (x < right) & (y > top) & (y < bottom)
    return flat.view(len(boxes), *[1] * (len(sides) - 2), *sides[-2:]).expand(len(boxes), *sides)
