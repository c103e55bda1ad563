"""Structural similarity at several scales: of null answers to their photographs, and of answers to the truth."""

from __future__ import annotations

from torch import Tensor

from counterbench.metrics.answers import Answers
from counterbench.metrics.base import SHARE, Cell, SampleMetric
from counterbench.metrics.statistics.structural_similarity import ms_ssim
from counterbench.plugins.registry import metrics


@metrics.register()
class MultiScaleSimilarity(SampleMetric):
    """MS-SSIM of what should be alike: a photograph and its null answer, an answer and the true counterfactual.

    Args:
        setting: what is asked.

    Examples:
        >>> import torch
        >>> from counterbench.causal import graph, samples, variables
        >>> from counterbench.metrics import answers, base
        >>> from counterbench.plans.question import Question
        >>> shown = {"width": variables.Continuous("width", 0, 8), "image": variables.Image("image", 1, 16, 16)}
        >>> setting = base.Setting(
        ...     graph.CausalGraph({"width": [], "image": ["width"]}), shown, "image", ("width",), (), cycles=1, with_truth=()
        ... )
        >>> image = 16.0 * torch.arange(16.0).expand(1, 1, 16, 16)
        >>> factual = samples.Samples({"width": torch.tensor([2.0]), "image": image}, torch.tensor([0]))
        >>> metric, batch = MultiScaleSimilarity(setting), answers.Batch(factual, "image")
        >>> metric.update(answers.Answers(batch, Question("null", batch.index, cycle=1), {**factual, "image": 0.5 * image}))
        >>> {column.cell.quantity: round(column.point(), 2) for column in metric.compute()}
        {'similarity': 0.65}
    """

    title = "Structural similarity"
    also = ("SSIM", "MS-SSIM")
    asks = frozenset({"null", "single"})
    formula = (
        r"$\prod_{j=1}^{S} \overline{c_j s_j}^{\,w_j}$, the last factor $\overline{l_S c_S s_S}^{\,w_S}$: luminance $l$, contrast $c$, structure "
        r"$s$ under a Gaussian window, $w \propto$ .0448, .2856, .3001, .2363, .1333"
    )
    definition = (
        "Mean MS-SSIM between an image and its null counterfactual (similarity, after 1, 10 and all null interventions), and between an answer and the "
        "true counterfactual (truth similarity): at each scale the mean over positions and channels of contrast times structure under a Gaussian "
        "window of 11 pixels (deviation 1.5), at the coarsest times luminance, each to the power of its weight. Of the five scales as many are taken as "
        "leave the shortest side at least 11 pixels (5 from 176, 3 at 64, 2 at 32, 1 below 22), their weights divided by their sum; below 11 pixels "
        "the window is the largest odd one that fits."
    )
    blind_to = (
        "Truth similarity is high for doing nothing wherever the true change is small or local: read it beside the row `identity`, and beside truth skill, in "
        "which doing nothing is 0. Null answers are perfect for who returns the input. It hardly sees a constant shift of brightness, and images of other "
        "sizes have other numbers of scales, so that only one dataset's numbers can be compared."
    )
    source = "Wang, Simoncelli & Bovik, Asilomar 2003."

    def make_cells(self) -> list[Cell]:
        last = self.setting.cycles
        null = [self._null(cycle) for cycle in sorted({1, 10, last}) if cycle <= last]
        return [*null, *(self._truth(name) for name in self.setting.with_truth)]

    def _null(self, cycles: int) -> Cell:
        return Cell(
            "similarity",
            "",
            "higher",
            cycles=cycles,
            bounds=SHARE,
            of_identity=1.0,
            preserves=True,
            depends_on_temperature=True,
        )

    def _truth(self, intervened: str) -> Cell:
        return Cell("truth_similarity", "", "higher", intervened, bounds=SHARE, of_truth=1.0)

    def update(self, answers: Answers) -> None:
        if answers.kind == "null":
            self._add(self._null(answers.cycles), answers, answers.batch.view.images)
        elif answers.kind == "single" and answers.truth is not None:
            self._add(self._truth(answers.intervened[0]), answers, answers.true_view.images)

    def _add(self, cell: Cell, answers: Answers, wanted: Tensor) -> None:
        if cell in self.cells:
            self.add(cell, answers.index, ms_ssim(answers.view.images, wanted))
