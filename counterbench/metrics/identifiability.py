"""Identifiability by ensembles: how far equally good trainings of one recipe are apart in their answers."""

from __future__ import annotations

from itertools import combinations

import torch

from counterbench.metrics.answers import Answers, l1, picture
from counterbench.metrics.base import NOT_NEGATIVE, Cell, SampleMetric
from counterbench.plugins.registry import metrics


@metrics.register()
class Identifiability(SampleMetric):
    """Disagreement of several trainings of one recipe, relative to the change that they make.

    Args:
        setting: what is asked.

    Examples:
        >>> from counterbench.causal import graph, samples, variables
        >>> from counterbench.metrics import answers, base
        >>> from counterbench.plans.question import Question
        >>> shown = {"width": variables.Continuous("width", 0, 8), "image": variables.Image("image", 1, 1, 2)}
        >>> setting = base.Setting(
        ...     graph.CausalGraph({"width": [], "image": ["width"]}), shown, "image", ("width",), (), cycles=1, with_truth=()
        ... )
        >>> factual = samples.Samples({"width": torch.tensor([2.0]), "image": torch.zeros(1, 1, 1, 2)}, torch.tensor([0]))
        >>> grey = lambda level: {"width": torch.tensor([3.0]), "image": torch.full((1, 1, 1, 2), level)}
        >>> metric = Identifiability(setting)
        >>> question = Question("single", factual.index, "width")
        >>> metric.update(answers.Answers(answers.Batch(factual, "image"), question, grey(10.0), others=[grey(14.0)]))
        >>> round(metric.compute()[0].point(), 3)  # 4 grey levels apart, after changes of 12 on average
        0.333
    """

    title = "Identifiability by ensembles"
    asks = frozenset({"single"})
    of_trainings = True
    formula = r"$E\, d(x^*_s, x^*_{s'}) \,/\, E\, d(x, x^*_s)$ over trainings $s \neq s'$"
    definition = (
        "Several trainings of one recipe, with other seeds, answer the same single interventions about the same images: the mean L1 distance between "
        "the answers of two trainings, divided by the mean L1 distance of an answer from its photograph. 0: all trainings say the same; 1: they "
        "are as far from each other as from what they were shown. Baselines answer as often, with other chance each time."
    )
    blind_to = (
        "Trainings may agree and be wrong together: a bias of the recipe or of the data is in all of them. A recipe that changes much at "
        "random where nobody asked has a large denominator. Read it beside the truth skill."
    )
    source = "Nasr-Esfahany et al., ICML 2023 (answers that the data do not decide differ between equally good models)."

    def make_cells(self) -> list[Cell]:
        return [self._cell(name) for name in self.setting.intervenable]

    def _cell(self, intervened: str) -> Cell:
        return Cell("disagreement", "of the change", "lower", intervened, bounds=NOT_NEGATIVE)

    def update(self, answers: Answers) -> None:
        if answers.kind != "single" or not answers.others:
            return
        (intervened,) = answers.intervened
        images = [picture(values, self.setting.image) for values in (answers.values, *answers.others)]
        apart = torch.stack([l1(one, other) for one, other in combinations(images, 2)]).mean(0)
        changed = torch.stack([l1(image, answers.batch.view.images) for image in images]).mean(0)
        self.add(self._cell(intervened), answers.index, apart, relative_to=changed)
