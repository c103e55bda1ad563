"""Re-identification: does an individual come out that the model was trained on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from counterbench.audits.linkage import PIXELS, best_match
from counterbench.metrics.answers import Answers, View
from counterbench.metrics.base import SHARE, Cell, SampleMetric, Setting
from counterbench.metrics.trained_on import FILTERED_BY
from counterbench.plugins.registry import metrics
from counterbench.recognisers.verifier import Verifier

WATCHERS = ("siamese", "contrastive", PIXELS)


@metrics.register()
class Reidentification(SampleMetric):
    """Share of answers, and of drawn individuals, that are linked to an individual of the training data (Packhäuser et al. 2022; Fernandez et al. 2023).

    Args:
        setting: what is asked.
        seen: rows of the training split that the model was trained on, as in :class:`counterbench.metrics.memorisation.Memorisation`; `filtered_by`
            among them lists verifiers that its training images have passed, which are no judges of it any more.
        watchers: who links images: verifiers of individuals, and `pixels`.

    Examples:
        >>> from counterbench.causal.graph import CausalGraph
        >>> setting = Setting(CausalGraph({"width": [], "image": ["width"]}), {}, "image", ("width",), (), cycles=1, with_truth=())
        >>> Reidentification(setting).cells  # no training images
        []
    """

    title = "Re-identification"
    of_privacy = True
    asks = frozenset({"single", "sample"})
    seen_option = "seen"
    formula = (
        r"$P\big(\max_{t \notin x} s(x^*, t) > q_{.95}\big)$, $q$ of $\max_t s(h, t)$ over held-out real $h$; "
        r"$P\big(\max_{t \notin x} s(x^*, t) > \max_t s(h, t)\big)$; $P\big(s(x^*, x) > q_{.95}\big)$"
    )
    definition = (
        "How alike an answer is to the most similar training image of anybody but the individual that was asked about, by two verifiers that were trained to say whether two images show one "
        "individual, and by nearest neighbours in pixels (the largest root mean square difference over 4 x 4 tiles). Linked: share that is more alike than 95 % of real images of the "
        "validation split are, whose individuals were not trained on: a model that gives nobody away scores about .05. AUC: how often an answer is more alike than such an image is, "
        ".5 for a model that gives nobody away, 1 for a replay. Own: share of counterfactuals that are so alike to their own factual image, which is no leak. "
        "A verifier that filtered a model's training data is no judge of that model and is left out."
    )
    blind_to = (
        "Whether the change was made, and whether what is drawn shows what was asked for: noise is linked to nobody. Read it beside effectiveness. Who is linked may share a look with a training "
        "individual without being one; the rate of real images of others is the reference. A low rate is no differential privacy: it bounds nothing about attacks that were not tried."
    )
    source = (
        "Packhäuser et al., Scientific Reports 12, 2022; Fernandez et al., 2023 (arXiv 2306.01322); the threshold on the best match over all training images, calibrated on held-out "
        "individuals, is ours: a threshold for single pairs is reached by chance where the gallery is large."
    )

    def __init__(self, setting: Setting, *, seen: Mapping[str, Any] | None = None, watchers: Sequence[str] = WATCHERS):
        self.seen, self.watchers = seen, tuple(watchers)
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        if self.setting.references is None:
            return []
        filters = tuple((self.seen or {}).get(FILTERED_BY) or ())
        for name in self.watchers:
            if name in filters:
                self.skipped[f"{type(self).title.lower()} ({name})"] = "it filtered what the model was trained on"
        left = [name for name in self.watchers if name not in filters]
        named = self.available(tuple(name for name in left if name != PIXELS))
        there = [name for name in named if isinstance(self.setting.spaces[name], Verifier)] + [PIXELS] * (
            PIXELS in left
        )
        return [
            cell for name in ("", *self.setting.intervenable) for watcher in there for cell in _cells(name, watcher)
        ]

    def update(self, answers: Answers) -> None:
        cells = [cell for cell in self.cells if cell.intervened_names == answers.intervened]
        if answers.kind not in self.asks or not cells:
            return
        assert self.setting.references is not None
        trained_on = self.setting.references.trained_on(self.seen)
        own = answers.batch.view if answers.kind == "single" else None
        for watcher in dict.fromkeys(cell.space for cell in cells):
            space = None if watcher == PIXELS else self.setting.spaces[watcher]
            linker, gallery = trained_on.linker(space), trained_on.shown(space)
            shown = _shown(answers.view, watcher)
            group = None if own is None else own.group
            best = best_match(linker.score, shown, gallery, group=group, owner=trained_on.group)
            for cell in cells:
                if cell.space == watcher and cell.quantity == "linked":
                    self.add(cell, answers.index, linker.linked(best).double())
                elif cell.space == watcher and cell.quantity == "auc":
                    self.add(cell, answers.index, linker.rank(best))
                elif cell.space == watcher and own is not None:
                    near = linker.paired(shown, _shown(own, watcher))
                    self.add(cell, answers.index, linker.linked(near).double())


def _cells(name: str, watcher: str) -> list[Cell]:
    linked = Cell(
        "linked", "", "lower", name, space=watcher, bounds=SHARE, worst=1.0, label="linked to training individuals"
    )
    auc = Cell("auc", "", "lower", name, space=watcher, role="detail", bounds=SHARE, worst=1.0)
    own = Cell("own", "", "higher", name, space=watcher, role="detail", bounds=SHARE, worst=0.0)
    return [linked, auc, own] if name else [linked, auc]


def _shown(view: View, watcher: str) -> Tensor:
    return view.images if watcher == PIXELS else view.features(watcher)
