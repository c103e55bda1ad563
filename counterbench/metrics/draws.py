"""Stochastic answers: how far several draws of an answer lie apart, and whether the truth lies among them."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from counterbench.causal.variables import Continuous
from counterbench.errors import ConfigError
from counterbench.metrics.answers import Answers, View, picture, same_images
from counterbench.metrics.base import GREY, SHARE, Cell, Column, SampleMetric, Setting
from counterbench.metrics.statistics.structural_similarity import ms_ssim
from counterbench.plugins.registry import metrics

_CENTRAL = 0.9
"""Share that the interval between draws should hold."""
SIMILARITY = "pairwise_similarity"
_ENOUGH = 19
"""Draws whose range holds that much: (19 - 1) of (19 + 1)."""


@metrics.register()
class SeveralDraws(SampleMetric):
    """Spread, energy score and coverage of several draws of one answer.

    Args:
        setting: what is asked.
        count: how many draws, at least 2; 20 make the range from the least to the greatest hold 90 % (19 of 21).
        similarity: whether the mean MS-SSIM of all pairs of draws is taken as well; 1 for draws that are all the same.

    Raises:
        ConfigError: for fewer than 2 draws.

    Examples:
        >>> from counterbench.causal import graph, samples, variables
        >>> from counterbench.metrics import answers
        >>> from counterbench.plans.question import Question
        >>> shown = {"width": variables.Continuous("width", 0, 8), "image": variables.Image("image", 1, 1, 2)}
        >>> setting = Setting(
        ...     graph.CausalGraph({"width": [], "image": ["width"]}), shown, "image", ("width",), (), cycles=1, with_truth=("width",)
        ... )
        >>> metric = SeveralDraws(setting, count=2)
        >>> factual = samples.Samples({"width": torch.tensor([2.0]), "image": torch.zeros(1, 1, 1, 2)}, torch.tensor([0]))
        >>> grey = lambda level: {"width": torch.tensor([3.0]), "image": torch.full((1, 1, 1, 2), level)}
        >>> answer = answers.Answers(
        ...     answers.Batch(factual, "image"), Question("single", factual.index, "width"), grey(10.0), truth=grey(12.0),
        ...     drawn=lambda number: grey(10.0 + 4 * number),
        ... )
        >>> metric.update(answer)
        >>> {column.cell.quantity: round(column.point(), 2) for column in metric.compute()}
        {'spread': 2.83, 'energy_score': 0.0, 'coverage': 3.0}
    """

    title = "Several draws"
    asks = frozenset({"single"})
    needs_model = True
    draws_option = "count"
    formula = (
        r"energy score $\tfrac1K \sum_j \lVert x^*_j - x_\text{true} \rVert - \tfrac{1}{2K(K-1)} \sum_{j \neq k} \lVert x^*_j - x^*_k \rVert$, "
        r"$\lVert \cdot \rVert$ the root of the mean square over pixels"
    )
    definition = (
        "Every single intervention is answered K times; draw j of a row uses one stream of chance, the same in all questions. Spread: mean over pixels of the "
        "standard deviation over the draws. Energy score of the draws against the true counterfactual, in grey levels, unbiased; of an "
        "answer without chance, the root of its mean squared distance from the truth. Coverage: how often the true value of a pixel, or what the judge of a quantity reads in the "
        "true image, lies in the central interval between draws, divided by how often it should: (K + 1 - 2i) / (K + 1) between "
        "the i-th least and the i-th greatest draw, for the i that comes nearest to 90 %. Where draws equal the truth, chance decides on which side of it each "
        "lies, and the mean over that chance counts."
    )
    blind_to = (
        "Coverage says nothing of where the draws lie together: draws that ignore the question can cover as often as they should. Read it with the energy "
        "score, whose least value in expectation is that of the true law. A model without chance gives the same answer in every draw: its spread is 0."
    )
    source = "Gneiting and Raftery, Journal of the American Statistical Association, 2007."

    def __init__(self, setting: Setting, *, count: int = 20, similarity: bool = False):
        if count < 2:
            raise ConfigError(f"draws: count is {count}; give at least 2 draws, 20 for intervals of 90 %.")
        self.count, self.similarity = count, similarity
        self.skip = max(1, round((count + 1) * (1 - _CENTRAL) / 2))
        """Which least and greatest draws are the ends of the interval."""
        self.due = (count + 1 - 2 * self.skip) / (count + 1)
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        cells = [self._cell("spread", name) for name in self.setting.intervenable]
        if self.similarity:
            cells += [self._cell(SIMILARITY, name) for name in self.setting.intervenable]
        for name in self.setting.with_truth:
            cells += [self._cell("energy_score", name), self._cell("coverage", name)]
            cells += [self._cell("coverage", name, judged) for judged in self._quantities()]
        return cells

    def _quantities(self) -> list[str]:
        """Judged quantities that lie on a line."""
        judged = {name: self.setting.variables[name] for name in self.setting.judged}
        return [name for name, kind in judged.items() if isinstance(kind, Continuous) and not kind.periodic]

    def _cell(self, quantity: str, intervened: str, measured: str = "") -> Cell:
        if quantity == "coverage":
            role: Literal["headline", "detail"] = "detail" if measured else "headline"
            return Cell(quantity, "of what is due", "one", intervened, measured, role=role, bounds=(0.0, 1 / self.due))
        if quantity == SIMILARITY:
            return Cell(quantity, "", "one", intervened, role="diagnosis", bounds=SHARE, of_identity=1.0, of_truth=1.0)
        if quantity == "energy_score":
            return Cell(quantity, "grey levels", "lower", intervened, bounds=GREY, of_truth=0.0)
        return Cell(
            quantity, "grey levels", "zero", intervened, role="diagnosis", bounds=GREY, of_identity=0.0, of_truth=0.0
        )

    def update(self, answers: Answers) -> None:
        if answers.drawn is None or answers.kind != "single" or not self.setting.image:
            return
        (intervened,) = answers.intervened
        views, index = self._views(answers), answers.index
        known = answers.truth is not None and intervened in self.setting.with_truth
        truth = answers.true_view.images if known else None
        if self.similarity:
            apart = _alike([view.images for view in views])
            self.add(self._cell(SIMILARITY, intervened), index, apart)
        for quantity, value in self._of_pixels([view.images for view in views], truth).items():
            self.add(self._cell(quantity, intervened), index, value)
        if not known:
            return
        for name in self._quantities():
            read = torch.stack([view.measured[name].value.double() for view in views], 1)
            true = answers.true_view.measured[name].value.double()
            value = self._covered(read[..., None], true[:, None]).mean(1)
            self.add(self._cell("coverage", intervened, name), index, value)

    def _of_pixels(self, draws: list[Tensor], truth: Tensor | None) -> dict[str, Tensor]:
        """Quantity -> (N,); image by image, because all draws of a batch in double precision are many numbers."""
        rows: list[dict[str, Tensor]] = []
        for row in range(len(draws[0])):
            images = torch.stack([draw[row].double().flatten() for draw in draws])[None]
            found = {"spread": images.std(1).mean(1)}
            if truth is not None:
                true = truth[row].double().flatten()[None]
                found |= {"energy_score": energy_score(images, true), "coverage": self._covered(images, true).mean(1)}
            rows.append(found)
        return {quantity: torch.cat([row[quantity] for row in rows]) for quantity in rows[0]}

    def compute(self) -> list[Column]:
        columns = super().compute()
        certain = {c.cell.intervened for c in columns if c.cell.quantity == "spread" and not c.value.any()}
        for column in columns:
            if column.cell.quantity in ("spread", SIMILARITY):
                column.no_rank = "it says how sure the model is, and not how right"
            elif column.cell.quantity == "coverage" and column.cell.intervened in certain:
                column.no_rank = "the model answers without chance: all draws are the same"
            elif column.cell.quantity == "coverage" and self.count < _ENOUGH:
                column.no_rank = f"{self.count} draws make no interval of 90 %; {_ENOUGH} do"
        return columns

    def _views(self, answers: Answers) -> list[View]:
        """What is seen in each draw; a model without chance is looked at once."""
        assert answers.drawn is not None
        views: list[View] = []
        for number in range(self.count):
            image = picture(answers.drawn(number), self.setting.image)
            same = bool(views) and same_images(image, views[0].images)
            views.append(views[0] if same else answers.batch.look_at(image))
        return views

    def _covered(self, draws: Tensor, truth: Tensor) -> Tensor:
        """(N, K, D), (N, D) -> (N, D): 1 / due where the truth lies between the draws, else 0; of ties, the mean over all orders."""
        below = (draws < truth[:, None]).sum(1)
        equal = (draws == truth[:, None]).sum(1)
        # The truth has between `below` and `below + equal` draws under it, each number as likely.
        least, most = below.clamp(min=self.skip), (below + equal).clamp(max=self.count - self.skip)
        return (most - least + 1).clamp(min=0).double() / (equal + 1) / self.due


def _alike(draws: list[Tensor]) -> Tensor:
    """Mean MS-SSIM over all pairs of draws, (N,)."""
    return torch.stack([ms_ssim(one, other) for one, other in combinations(draws, 2)]).mean(0)


def energy_score(draws: Tensor, truth: Tensor) -> Tensor:
    """Energy score of K draws, unbiased, in the root of the mean square over D numbers, (N,).

    Args:
        draws: (N, K, D), K at least 2.
        truth: (N, D).

    Examples:
        >>> energy_score(torch.tensor([[[0.0], [4.0]]]), torch.tensor([[1.0]])).tolist()
        [0.0]
    """
    count, size = draws.shape[1:]
    to_truth = (draws - truth[:, None]).norm(dim=2).mean(1)
    apart = torch.cdist(draws, draws, compute_mode="donot_use_mm_for_euclid_dist").sum((1, 2)) / (
        2 * count * (count - 1)
    )
    score: Tensor = (to_truth - apart) / size**0.5
    return score
