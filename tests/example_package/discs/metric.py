"""A metric that only discs need."""

import torch

from counterbench.metrics.base import Cell, SampleMetric
from counterbench.plugins.registry import metrics


@metrics.register("area")
class Area(SampleMetric):
    """How far the disc's area is from that of the true counterfactual.

    Args:
        setting: what is asked.
        threshold: grey level above which a pixel belongs to the disc.
    """

    title = "Area"
    asks = frozenset({"single"})
    definition = "Absolute difference of the numbers of pixels above a threshold, in answer and true counterfactual."
    formula = r"$\frac{1}{N} \sum_i \left| |\{x^*_i > t\}| - |\{y_i > t\}| \right|$"
    blind_to = "Where the disc lies, and how bright it is."
    source = "This package."

    def __init__(self, setting, threshold: float = 60.0):
        self.threshold = threshold
        super().__init__(setting)

    def make_cells(self):
        return [Cell("area_error", "px²", "lower", name) for name in self.setting.with_truth]

    def update(self, answers):
        if answers.kind != "single" or answers.truth is None:
            return
        image, (name,) = answers.batch.image, answers.intervened
        cell = self.cells[self.setting.with_truth.index(name)]
        areas = [
            (values[image] > self.threshold).flatten(1).sum(1).double() for values in (answers.values, answers.truth)
        ]
        self.add(cell, answers.index, torch.abs(areas[0] - areas[1]))
