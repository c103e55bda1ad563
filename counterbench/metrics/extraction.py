"""Extraction: can the training images be had by asking for them often enough?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from counterbench.audits.extraction import is_extracted
from counterbench.errors import ConfigError
from counterbench.metrics.answers import Answers, Drawing
from counterbench.metrics.base import NOT_NEGATIVE, SHARE, Cell, SampleMetric, Setting
from counterbench.metrics.trained_on import TrainedOn
from counterbench.plugins.registry import metrics


@metrics.register()
class Extraction(SampleMetric):
    """Share of training images that a model gives away when it draws often with their attributes (Carlini et al., USENIX Security 2023).

    Args:
        setting: what is asked.
        seen: rows of the training split that the model was trained on, as in :class:`counterbench.metrics.memorisation.Memorisation`.
        images: training images that are tried at most, evenly spread.
        draws: individuals that are drawn with the attributes of each training image.
        members: of them that must be alike.

    Examples:
        >>> from counterbench.causal.graph import CausalGraph
        >>> setting = Setting(CausalGraph({"width": [], "image": ["width"]}), {}, "image", ("width",), (), cycles=0, with_truth=())
        >>> Extraction(setting).cells  # no training images
        []
    """

    title = "Extraction"
    of_privacy = True
    asks = frozenset({"sample"})
    needs_model = True
    seen_option = "seen"
    formula = r"$P_t\big(\text{the middle of the largest group of draws with } c_t \text{ is within } q_{.01} \text{ of } t\big)$"
    definition = (
        "For every training image (or 100 of them, evenly spread; no more than samples that are asked about), 50 individuals are drawn with its attributes. Draws hang together that are "
        "within the calibrated distance of copies (see memorisation). The image is extracted if the largest group has 3 members or more and the one in its middle "
        "is within the same distance of the image. Noise norm: root mean square by which the attributes move the noise that the model predicts in the training "
        "image, over 8 places on the path to noise."
    )
    blind_to = (
        "Whether the model shows what it is asked for: one that ignores its attributes gives nobody away. Read it beside the accuracy of samples. Images that "
        "come out under other attributes than their own. The interval takes training images as independent; where several show one individual, it is too short."
    )
    source = (
        "Carlini et al., USENIX Security 2023; Wen et al., ICLR 2024 (noise norm); the calibrated threshold is ours."
    )

    def __init__(
        self,
        setting: Setting,
        *,
        seen: Mapping[str, Any] | None = None,
        images: int = 100,
        draws: int = 50,
        members: int = 3,
    ):
        if images < 1:
            raise ConfigError(f"extraction: images is {images}; give 1 or more.")
        if not 1 <= members <= draws:
            raise ConfigError(f"extraction: members is {members}; give a number from 1 to draws ({draws}).")
        self.seen, self.images, self.draws, self.members = seen, images, draws, members
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        if self.setting.references is None:
            return []
        return [
            Cell("extracted", "", "lower", bounds=SHARE, worst=1.0, label="training images extracted"),
            Cell("noise_norm", "of the noise", "lower", role="detail", bounds=NOT_NEGATIVE),
        ]

    def update(self, answers: Answers) -> None:
        drawing = answers.batch.drawing
        if answers.kind != "sample" or not self.cells or drawing is None:
            return
        assert self.setting.references is not None
        trained_on = self.setting.references.trained_on(self.seen)
        index, targets = self._targets(answers.index, len(trained_on.rows))
        if not len(index):
            return
        self.add(
            self.cells[0],
            index,
            # As many at a time as questions: fewer where memory was short.
            torch.tensor([self._extracted(drawing, trained_on, at, len(answers.index)) for at in targets.tolist()]),
        )
        if drawing.noise_norm is not None:
            attributes = {name: value[targets] for name, value in trained_on.attributes.items()}
            streams = [f"noise norm/{row}" for row in trained_on.rows[targets].tolist()]
            norm = drawing.noise_norm(trained_on.images[targets].float(), attributes, streams)
            self.add(self.cells[1], index, norm)

    def _targets(self, index: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """(rows of the test split that stand for a training image each, positions of these images): every image once, or as many as are
        tried, evenly spread."""
        positions, asked = index, min(count, self.images)
        if (rows := self.setting.rows) is not None:
            place = {row: position for position, row in enumerate(rows.tolist())}
            positions = torch.tensor([place[row] for row in index.tolist()], dtype=torch.long)
            asked = min(asked, len(rows))
        kept = positions < asked
        return index[kept], positions[kept] * count // asked

    def _extracted(self, drawing: Drawing, trained_on: TrainedOn, at: int, size: int) -> bool:
        image = trained_on.images[at].float()
        attributes = {name: value[at] for name, value in trained_on.attributes.items()}
        streams = [f"extraction/{int(trained_on.rows[at])}/{draw}" for draw in range(self.draws)]
        drawn = torch.cat(list(_drawn(drawing, attributes, streams, size)))
        return is_extracted(drawn, image, threshold=trained_on.threshold, members=self.members)


def _drawn(drawing: Drawing, attributes: Mapping[str, Tensor], streams: Sequence[str], size: int) -> Iterator[Tensor]:
    """Draws with the same attributes, batch by batch."""
    for start in range(0, len(streams), size):
        few = streams[start : start + size]
        yield drawing.draw({name: value.expand(len(few), *value.shape) for name, value in attributes.items()}, few)
