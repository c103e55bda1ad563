"""Recognition: is it still the same individual?"""

from __future__ import annotations

from torch import Tensor

from counterbench.features.base import cosine_distance
from counterbench.metrics.answers import Answers, View
from counterbench.metrics.base import NOT_NEGATIVE, SHARE, Cell, SampleMetric, Setting
from counterbench.metrics.statistics.recognition import recognised
from counterbench.plugins.registry import metrics

RECOGNISER = "embedding"


def is_recognised(setting: Setting, answers: Answers, recogniser: str) -> Tensor:
    """Whether the nearest of everybody's test images to an answer is its own individual's, (N,), bool.

    Args:
        setting: with the recogniser among its spaces, and the dataset's references.
        answers: to a question.
        recogniser: its name.

    Examples:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> from counterbench.causal.samples import Samples
        >>> from counterbench.features.pixel import Pixel
        >>> from counterbench.metrics.answers import Batch, Instruments
        >>> from counterbench.plans.question import Question
        >>> everybody = torch.eye(2).view(2, 1, 1, 2) * 255
        >>> hung = SimpleNamespace(gallery=lambda space: (space.extract(everybody), torch.tensor([4, 5])))
        >>> setting = SimpleNamespace(references=hung, spaces={"pixel": Pixel()})
        >>> factual, instruments = Samples({"image": everybody}, torch.arange(2)), Instruments(spaces=setting.spaces)
        >>> batch = Batch(factual, "image", view=View(everybody, instruments, group=torch.tensor([4, 5])), instruments=instruments)
        >>> answers = Answers(batch, Question("single", batch.index, "width"), {"image": everybody[:1].expand(2, -1, -1, -1)})
        >>> is_recognised(setting, answers, "pixel").tolist()
        [True, False]
    """
    assert setting.references is not None
    assert answers.batch.view.group is not None
    gallery, owner = setting.references.gallery(setting.spaces[recogniser])
    shown, observed = (view.features(recogniser) for view in (answers.view, answers.batch.view))
    return recognised(shown, answers.batch.view.group, gallery, owner, observed=observed)


@metrics.register()
class Recognition(SampleMetric):
    """Share of answers that are recognised as their own individual, and how far they are from it beyond the truth.

    Args:
        setting: what is asked.
        recogniser: a space trained to tell individuals apart.

    Examples:
        >>> import torch
        >>> from counterbench.causal import graph
        >>> setting = Setting(
        ...     graph.CausalGraph({"width": [], "image": ["width"]}), {}, image="image", intervenable=("width",), judged=(), cycles=1,
        ...     with_truth=(), missing={"embedding": "the card pins none"},
        ... )
        >>> Recognition(setting).skipped
        {'recognition (embedding)': 'the card pins none'}
    """

    title = "Recognition"
    asks = frozenset({"single"})
    formula = (
        r"$\mathbb{E}_x\,\big[\arg\min_{x'} d(x^*, x') \text{ is who } x \text{ shows}\big]$; "
        r"$\mathbb{E}_x \max\big(0, d(x^*, x) - d(x_\text{true}, x)\big)$"
    )
    definition = (
        "Rate: share of answers whose nearest neighbour, among the observed image and the first test image of everybody, shows the individual "
        "that was asked about, in a space that was trained to tell individuals apart whatever else about them changes. Distance beyond the truth: how "
        "much farther the answer is from the observed image there (1 - cosine) than the true counterfactual is. Interventions of which the card says "
        "that they change who it is are left out."
    )
    blind_to = (
        "How much of the change was asked for: returning the input is recognised. Images on which the recogniser was not trained, such "
        "as blurred ones, may be taken for somebody else's; the truth's own rate is the reference."
    )
    source = "Re-identification rate, as in person re-identification; the space: InfoNCE on pairs of images of the same individual (van den Oord et al. 2018)."

    def __init__(self, setting: Setting, recogniser: str = RECOGNISER):
        self.recogniser = recogniser
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        if self.setting.references is None and not self.setting.missing:
            return []
        there = self.available((self.recogniser,))
        cells = []
        for variable in self.setting.intervenable if there else ():
            if variable in self.setting.changes_individual:
                continue
            cells.append(
                Cell("rate", "", "higher", variable, bounds=SHARE, preserves=True, worst=0.0, label="recognised")
            )
            if variable in self.setting.with_truth:
                cells.append(
                    Cell(
                        "distance_beyond_truth",
                        "",
                        "lower",
                        variable,
                        bounds=NOT_NEGATIVE,
                        of_identity=0.0,
                        of_truth=0.0,
                        preserves=True,
                        worst=2.0,
                    )
                )
        return cells

    def update(self, answers: Answers) -> None:
        if answers.kind != "single" or answers.batch.view.group is None:
            return
        for cell in self.cells:
            if cell.intervened_names != answers.intervened:
                continue
            if cell.quantity == "rate":
                known = is_recognised(self.setting, answers, self.recogniser)
                self.add(cell, answers.index, known.double())
            elif answers.truth is not None:
                own = answers.batch.view
                beyond = self._apart(answers.view, own) - self._apart(answers.true_view, own)
                self.add(cell, answers.index, beyond.clamp(min=0))

    def _apart(self, first: View, second: View) -> Tensor:
        return cosine_distance(first.features(self.recogniser), second.features(self.recogniser))
