"""Parts: did only those parts change that the intervention owns, and do all parts lie where they should?"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from counterbench.metrics.answers import Answers
from counterbench.metrics.base import GREY, NOT_NEGATIVE, SHARE, Cell, SampleMetric
from counterbench.metrics.localisation import changed
from counterbench.metrics.statistics.maps import dice
from counterbench.plans.question import ALONE, Cause
from counterbench.plugins.registry import metrics


@metrics.register()
class Parts(SampleMetric):
    """Part-wise minimality and equivariance of counterfactuals (parts after Liu et al. 2023).

    Args:
        setting: what is asked.

    Examples:
        >>> from counterbench.plans.question import Question
        >>> from counterbench.causal import graph, samples, variables
        >>> from counterbench.metrics import answers, base
        >>> setting = base.Setting(
        ...     graph.CausalGraph({"lesion": [], "image": ["lesion"]}),
        ...     {"lesion": variables.Binary("lesion"), "image": variables.Image("image", 1, 2, 2)},
        ...     image="image", intervenable=("lesion",), judged=(), cycles=1, with_truth=("lesion",),
        ...     parts=("background", "lesion"), owned={"lesion": ("lesion",)},
        ... )
        >>> factual = samples.Samples({"lesion": torch.tensor([1]), "image": torch.zeros(1, 1, 2, 2)}, torch.tensor([0]))
        >>> regions = answers.Regions(mask=lambda: torch.tensor([[[1, 0], [0, 0]]]))
        >>> batch = answers.Batch(factual, "image", regions=regions)
        >>> answer = {**factual, "image": torch.tensor([[[[6.0, 3.0], [0.0, 0.0]]]])}
        >>> metric = Parts(setting)
        >>> metric.update(answers.Answers(batch, Question("single", batch.index, "lesion"), answer))
        >>> {f"{c.cell.quantity} {c.cell.measured}".strip(): round(c.point(), 3) for c in metric.compute()}
        {'outside_change': 1.0, 'outside_share': 0.333, 'part_change background': 1.0, 'part_change lesion': 6.0}
    """

    title = "Parts"
    asks = frozenset(ALONE)
    needs_parts = True
    formula = (
        r"$\overline{|x^* - x|}_{p \notin O}$, $\sum_{p \notin O} |x^* - x| / \sum_p |x^* - x|$, $\mathrm{Dice}_k\big(s(x^*), s_\text{true}\big)$; "
        r"$O$: pixels whose part, in $x$ or in the true answer, the intervention owns"
    )
    definition = (
        "The card says which parts of an image an intervention owns, its descendants' parts among them. Outside change: mean |x* - x| over pixels whose part "
        "in neither the observed nor the true image (else the answer, as a segmenter sees it) is owned; outside share: how much of all change lies there (of answers that change anything). Per part, by the observed image's mask: "
        "mean |x* - x|, and how far it is from that of the truth. Equivariance: mean Dice between the parts of the answer, as a segmenter finds them, and the parts of the truth; where an "
        "intervention owns nothing, those of the observed image. Masks are the dataset's where it knows them, else the segmenter's; the true answer's own row says what the segmenter loses."
    )
    blind_to = (
        "Change inside of an owned part: a lesion that is replaced by another one. With interventions that own every part nothing is outside. Soft edges: the truth itself changes a "
        "little beyond the mask, which its own row shows. A segmenter may find in an answer what it expects to see there."
    )
    source = "Parts by a segmenter of few labels: Liu et al. 2023; ownership declared on the card: this project."

    def make_cells(self) -> list[Cell]:
        names = self.setting.parts
        if not names:
            self.skipped[self.name] = (
                "the dataset has no masks of parts for this source, and its card pins no segmenter"
            )
            return []
        cells: list[Cell] = []
        if not any(self.setting.owned.values()):
            self.skipped[f"{self.name} (outside)"] = "the card does not say which parts an intervention owns"
        for cause in self.setting.causes:
            owned = self.setting.owned.get(cause, ())
            if set(owned) != set(names) and any(self.setting.owned.values()):
                cells += [_outside(cause), _share(cause)]
            cells += [_change(cause, part) for part in names]
            if cause in (*self.setting.with_truth, *self.setting.joint_with_truth):
                cells += [_excess(cause, part) for part in names]
            if self.setting.segmented:
                cells += [_equivariance(cause), *(_equivariance(cause, part) for part in names[1:])]
        return cells

    def update(self, answers: Answers) -> None:
        if answers.kind not in ALONE or not self.cells:
            return
        mask = answers.batch.regions.mask
        if mask is None:
            mask = answers.batch.view.parts
        if mask is None:
            return
        image, names, cause = answers.batch.image, self.setting.parts, answers.cause
        moved = changed(answers.values[image], answers.factual[image])
        due = None if answers.truth is None else changed(answers.truth[image], answers.factual[image])
        true_mask = answers.true_parts
        owned = self.setting.owned.get(cause, ())
        if set(owned) != set(names):
            outside = ~_any_of(mask, owned, names)
            # Where nobody knows the true image, what the answer made of an owned part is its own.
            beside = answers.view.parts if true_mask is None else true_mask
            if beside is not None:
                outside &= ~_any_of(beside, owned, names)
            inside_out, everything = (moved * outside).flatten(1), moved.flatten(1)
            pixels = outside.flatten(1).sum(1).double()
            self._add(answers, _outside(cause), inside_out.sum(1) / torch.where(pixels > 0, pixels, torch.nan))
            total = everything.sum(1)
            self._add(answers, _share(cause), torch.where(total > 0, inside_out.sum(1), torch.nan), relative_to=total)
        for number, part in enumerate(names):
            change = _mean_over(moved, mask == number)
            self._add(answers, _change(cause, part), change)
            if due is not None:
                self._add(answers, _excess(cause, part), (change - _mean_over(due, mask == number)).abs())
        self._equivariance(answers, true_mask if owned else mask)

    def _equivariance(self, answers: Answers, wanted: Tensor | None) -> None:
        found = answers.view.parts
        if found is None or wanted is None or _equivariance(answers.cause) not in self.cells:
            return
        scores = dice(found, wanted, len(self.setting.parts))[:, 1:]
        self._add(answers, _equivariance(answers.cause), scores.nanmean(1))
        for number, part in enumerate(self.setting.parts[1:]):
            self._add(answers, _equivariance(answers.cause, part), scores[:, number])

    def _add(self, answers: Answers, cell: Cell, score: Tensor, *, relative_to: Tensor | None = None) -> None:
        if cell in self.cells:
            self.add(cell, answers.index, score, relative_to=relative_to)


def _any_of(mask: Tensor, parts: tuple[str, ...], names: tuple[str, ...]) -> Tensor:
    """Which pixels belong to any of these parts."""
    numbers = torch.tensor([names.index(part) for part in parts], dtype=torch.long, device=mask.device)
    return torch.isin(mask.long(), numbers)


def _mean_over(moved: Tensor, where: Tensor) -> Tensor:
    """(N,): mean over some pixels of every image; NaN where there are none."""
    count = where.flatten(1).sum(1).double()
    return (moved * where).flatten(1).sum(1) / torch.where(count > 0, count, torch.nan)


_GREY_CELL = Cell("part_change", "grey levels", "lower", bounds=GREY, role="detail")


def _outside(cause: Cause) -> Cell:
    return replace(
        _GREY_CELL,
        quantity="outside_change",
        intervened=cause,
        role="headline",
        of_identity=0.0,
        preserves=True,
        label="change outside of what it owns",
    )


def _share(cause: Cause) -> Cell:
    return Cell(
        "outside_share",
        "",
        "lower",
        cause,
        bounds=SHARE,
        worst=1.0,
        preserves=True,
        label="share of the change outside of what it owns",
    )


def _change(cause: Cause, part: str) -> Cell:
    return replace(_GREY_CELL, intervened=cause, measured=part, direction="zero", role="detail", of_identity=0.0)


def _excess(cause: Cause, part: str) -> Cell:
    return Cell(
        "part_excess",
        "grey levels",
        "lower",
        cause,
        part,
        bounds=NOT_NEGATIVE,
        worst=255.0,
        role="detail",
        of_truth=0.0,
        label="distance of its change from the true one",
    )


def _equivariance(cause: Cause, part: str = "") -> Cell:
    return Cell(
        "equivariance",
        "",
        "higher",
        cause,
        part,
        bounds=SHARE,
        worst=0.0,
        role="detail" if part else "headline",
        label="Dice of the parts" if not part else "Dice",
    )
