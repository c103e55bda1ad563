"""Minimality: no more should change than has to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from counterbench.errors import ConfigError
from counterbench.metrics.answers import Answers, l1
from counterbench.metrics.base import GREY, SHARE, Cell, Column, SampleMetric, Setting
from counterbench.metrics.references import Grouping
from counterbench.networks.normal import normal_divergence
from counterbench.plugins.registry import metrics

_SPACE = "posterior"
_BLOCK = 512  # queries whose distances to one group are held at once
_TIE = 1e-5
"""Relative to 1 + the divergence: nearer ones are equally far. A retrieved image is one of the references, and rounding must not decide."""


class Neighbourhood:
    """Reference posteriors, sorted by group, ready to be compared with queries.

    The divergence KL(reference || query) of diagonal normals is linear in features of the reference: all of them are one
    matrix product, done group by group and in blocks, so no matrix of all queries and all references is ever held.

    Args:
        posteriors: (M, 2 L), mean and log standard deviation of every reference.
        groups: (M,), which value each one has.

    Examples:
        >>> real = torch.tensor([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0]])  # mean and log standard deviation; one number each
        >>> neighbourhood = Neighbourhood(real, groups=torch.tensor([7, 7, 7]))
        >>> near = neighbourhood.share(torch.zeros(1, 2), torch.tensor([7]), divergence=torch.tensor([1.0]), below=True)
        >>> round(float(near), 3)
        0.667
    """

    def __init__(self, posteriors: Tensor, groups: Tensor):
        order = groups.argsort(stable=True)
        mean, log_scale = posteriors[order].double().chunk(2, 1)
        # The formula of networks.normal, multiplied out: sums over references become one matrix product.
        second_moment = (2 * log_scale).exp() + mean.square()
        constant = -(2 * log_scale + 1).sum(1, keepdim=True)
        self.features = torch.cat([second_moment, mean, torch.ones_like(constant), constant], 1)
        self.groups, counts = groups[order].unique_consecutive(return_counts=True)
        ends = counts.cumsum(0)
        self.slices = {
            int(group): slice(int(end - count), int(end))
            for group, count, end in zip(self.groups, counts, ends, strict=True)
        }

    def share(self, queries: Tensor, groups: Tensor, divergence: Tensor, below: bool) -> Tensor:
        """Share of the references of each query's group that are at most (or at least) so far from it.

        Args:
            queries: (N, 2 L), mean and log standard deviation.
            groups: (N,), which references each is compared with.
            divergence: (N,), in nats.
            below: count distances <= divergence, else >= divergence; those within :data:`_TIE` of it count both ways.

        Returns:
            (N,), float64, 0 to 1; NaN where there is no reference of the group.
        """
        mean, log_scale = queries.double().chunk(2, 1)
        precision = (-2 * log_scale).exp()
        constant = (mean.square() * precision + 2 * log_scale).sum(1, keepdim=True)
        weights = torch.cat([precision, -2 * mean * precision, constant, torch.ones_like(constant)], 1)
        shares = torch.full((len(queries),), torch.nan, dtype=torch.float64)
        for group in groups.unique().tolist():
            if group not in self.slices:
                continue
            references = self.features[self.slices[group]]
            for rows in (groups == group).nonzero()[:, 0].split(_BLOCK):
                distances = (0.5 * (weights[rows] @ references.T)).clamp(min=0)  # rounding can make 0 negative
                limit = divergence[rows].double()[:, None]
                slack = _TIE * (1 + limit)
                hits = distances <= limit + slack if below else distances >= limit - slack
                shares[rows] = hits.double().mean(1)
        return shares


def cld(closer: Tensor, farther: Tensor, weights: tuple[float, float]) -> Tensor:
    """Counterfactual latent divergence, ln(w1 exp P1 + w2 exp P2).

    Args:
        closer: (N,), P1 = P(S_cf <= div): share of real images with the counterfactual value that are closer than the answer.
        farther: (N,), P2 = P(S_f >= div): share of real images with the factual value that are farther than the answer.
        weights: w1, w2.

    Returns:
        (N,). Doing nothing gives ln(w1 + w2 e), whatever the data.

    Examples:
        >>> [round(value, 4) for value in cld(torch.tensor([0.0, 0.5]), torch.tensor([1.0, 0.5]), (0.8, 0.2)).tolist()]
        [0.2954, 0.5]
    """
    return (weights[0] * closer.exp() + weights[1] * farther.exp()).log()


def of_identity(weights: tuple[float, float]) -> float:
    """What returning the image unchanged scores: ln(w1 + w2 e).

    Examples:
        >>> round(of_identity((0.8, 0.2)), 4)
        0.2954
    """
    return math.log(weights[0] + weights[1] * math.e)


@metrics.register()
class Minimality(SampleMetric):
    """Counterfactual latent divergence (Sanchez & Tsaftaris 2022; Melistas et al. 2024), and excess change against the truth.

    Args:
        setting: what is asked.
        weights: pairs (w1, w2): (0.8, 0.2) of the 2024 benchmark, (1, 1) of Diff-SCM.

    Examples:
        >>> from counterbench.plans.question import Question
        >>> import torch
        >>> from counterbench.causal import graph, samples, variables
        >>> from counterbench.metrics import answers, base
        >>> setting = base.Setting(
        ...     graph.CausalGraph({"width": [], "image": ["width"]}),
        ...     {"width": variables.Continuous("width", 0, 8, "px"), "image": variables.Image("image", 1, 2, 2)},
        ...     image="image", intervenable=("width",), judged=(), cycles=1, with_truth=("width",),
        ... )
        >>> factual = samples.Samples({"width": torch.tensor([2.0]), "image": torch.zeros(1, 1, 2, 2)}, torch.tensor([0]))
        >>> metric = Minimality(setting)
        >>> batch = answers.Batch(factual, "image")
        >>> answer, truth = ({**factual, "image": factual["image"] + brighter} for brighter in (6, 4))
        >>> metric.update(answers.Answers(batch, Question("single", batch.index, "width"), answer, truth=truth))
        >>> {column.cell.quantity: round(column.point(), 3) for column in metric.compute()}
        {'excess_change': 2.0}
    """

    title = "Minimality"
    also = ("CLD",)
    asks = frozenset({"single"})
    formula = r"$\mathrm{CLD} = \ln(w_1 e^{P_1} + w_2 e^{P_2})$, $P_1 = P(S_\text{cf} \le D(x^*, x))$, $P_2 = P(S_\text{f} \ge D(x^*, x))$"
    definition = (
        "CLD = ln(w1 exp P1 + w2 exp P2), P1 = P(S_cf <= div), P2 = P(S_f >= div), div = D(x*, x), S_f and S_cf the distances "
        "from x to real training images that share the factual or the counterfactual value of the intervened variable (same "
        "tenth of the training images for quantities; images without any such are left out; a suite says how many training images there "
        "are to compare with, 10,000 drawn at random by default), D = KL between the posteriors of a "
        "pinned unconditional autoencoder; distances within 1e-5 (1 + div) of div count as equal to it. saturated: share of answers that are nearer than every real image (P1 = 0, P2 = 1), of which "
        "CLD says no more than that; where they are most, or where the truth scores no better than doing nothing, CLD is not "
        "ranked. excess_change: mean of |d(x*, x) - d(truth, x)|, d the mean absolute difference of two images in grey levels, so that too much for one does not make up for too "
        "little for another."
    )
    blind_to = (
        "Almost everything: doing nothing scores ln(w1 + w2 e), which is 0.2954 for (0.8, 0.2), and returning a real image of "
        "the target class can beat trained models. Never read it without its floors."
    )
    source = "Sanchez & Tsaftaris, CLeaR 2022 (Diff-SCM); weights 0.8 and 0.2: Melistas et al., NeurIPS 2024."

    def __init__(self, setting: Setting, weights: Sequence[Sequence[float]] = ((0.8, 0.2), (1.0, 1.0))):
        self.weights = tuple((float(first), float(second)) for first, second in weights)
        if not self.weights or any(not (min(pair) >= 0 and 0 < sum(pair) < math.inf) for pair in self.weights):
            raise ConfigError(
                f"minimality: weights {weights!r}; give pairs of finite numbers, none negative, not both 0."
            )
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        cells = []
        with_cld = bool(self.available((_SPACE,), "minimality, CLD")) and self.setting.references is not None
        for variable in self.setting.intervenable:
            if with_cld:
                cells += [*(self._cld(variable, pair) for pair in self.weights), self._saturated(variable)]
            if variable in self.setting.with_truth:
                cells.append(self._excess(variable))
        return cells

    def _cld(self, variable: str, pair: tuple[float, float]) -> Cell:
        first, second = (f"{weight:g}" for weight in pair)
        least = math.log(sum(pair))
        return Cell(
            f"cld_{first}_{second}",
            "",
            "lower",
            variable,
            space=_SPACE,
            bounds=(least, 1 + least),  # both shares are 0, and both are 1
            of_identity=of_identity(pair),
            only_if_truth_wins=True,
            label=f"CLD ({first}, {second})",
        )

    def _saturated(self, variable: str) -> Cell:
        return Cell(
            "saturated",
            "",
            "lower",
            variable,
            space=_SPACE,
            role="detail",
            bounds=SHARE,
            of_identity=1.0,
            label="share of saturated CLD",
        )

    def _excess(self, variable: str) -> Cell:
        return Cell("excess_change", "grey levels", "lower", variable, bounds=GREY, of_truth=0.0)

    @cached_property
    def _neighbourhoods(self) -> dict[str, tuple[Grouping, Neighbourhood]]:
        references = self.setting.references
        assert references is not None
        posteriors = references.features(self.setting.spaces[_SPACE])
        neighbourhoods = {}
        for name in self.setting.intervenable:
            grouping = references.grouping(name)
            neighbourhoods[name] = (grouping, Neighbourhood(posteriors, grouping(references.attributes[name])))
        return neighbourhoods

    def update(self, answers: Answers) -> None:
        if answers.kind != "single":
            return
        (variable,) = answers.intervened
        pairs = [pair for pair in self.weights if self._cld(variable, pair) in self.cells]
        if pairs:
            closer, farther = self._shares(variable, answers)
            for pair in pairs:
                self.add(self._cld(variable, pair), answers.index, cld(closer, farther, pair))
            nearest = ((closer == 0) & (farther == 1)).double()
            self.add(self._saturated(variable), answers.index, nearest + 0 * (closer + farther))  # NaN stays NaN
        excess = self._excess(variable)
        if answers.truth is not None and excess in self.cells:
            image = answers.batch.image
            moved, due = (l1(values[image], answers.factual[image]) for values in (answers.values, answers.truth))
            self.add(excess, answers.index, (moved - due).abs())

    def compute(self) -> list[Column]:
        columns = super().compute()
        saturated = {c.cell.intervened_names for c in columns if c.cell.quantity == "saturated" and c.point() > 0.5}
        for column in columns:
            if column.cell.only_if_truth_wins and column.cell.intervened_names in saturated:
                column.no_rank = "saturated: most answers are nearer than every real image, and it says no more"
        return columns

    def _shares(self, variable: str, answers: Answers) -> tuple[Tensor, Tensor]:
        grouping, neighbourhood = self._neighbourhoods[variable]
        query = answers.batch.view.features(_SPACE)
        if answers.view is answers.batch.view:
            divergence = torch.zeros(len(query), dtype=torch.float64)
        else:
            divergence = _divergence(answers.view.features(_SPACE), query)
        target = grouping(answers.wanted.get(variable, answers.values[variable]))
        closer = neighbourhood.share(query, target, divergence, below=True)
        farther = neighbourhood.share(query, grouping(answers.factual[variable]), divergence, below=False)
        return closer, farther


def _divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(first || second) row by row, (N, 2 L) each."""
    mean, log_scale = first.double().chunk(2, 1)
    other_mean, other_log_scale = second.double().chunk(2, 1)
    return normal_divergence(mean, log_scale, other_mean=other_mean, other_log_scale=other_log_scale).clamp(min=0)
