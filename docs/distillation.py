"""What distillation does to a minority: digits with a bar that nearly always tells the answer.

    python docs/distillation.py  # half an hour of one processor; writes docs/distillation.json

The question is whether a digit is at least 5. In 97 % of the training images a bar at the left edge says so, in 3 % it says the opposite: those are the minorities.
Rows: a teacher; students of a third of its size that learn from it, plainly and with group DRO; the same from a robust teacher; and students without any teacher. With all
labels, and where a student has the labels of a fifth of the images (teachers have seen only those).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from counterbench import datasets
from counterbench.catalog.recipes import Fit, WeightingEntry
from counterbench.storage.files import write_text
from counterbench.training import loop
from counterbench.training.distillation import Distillation, Teacher
from counterbench.training.hardware import Hardware
from counterbench.training.objectives.base import Circumstances, Moment, Objective
from counterbench.training.subgroups import Subgrouped
from counterbench.training.weightings.base import SUBGROUP

RESULT = Path(__file__).parent / "distillation.json"
SEEDS = (0, 1, 2)
NAMES = ("below 5, no bar", "below 5, bar", "5 or more, no bar", "5 or more, bar")
ALIGNED, FEW = 0.97, 0.2
TEMPERATURE, ALPHA, ETA = 4.0, 0.9, 0.05
STEPS = {"epochs": 12, "batch_size": 128, "learning_rate": 2e-3, "warmup_steps": 50, "keep": "last"}


def images(split: str, count: int, aligned: float, seed: int) -> dict[str, Tensor]:
    """Small images with their bars, answers and subgroups."""
    values = datasets.load("morphomnist").split(split).values
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(values["digit"]), generator=generator)[:count]
    answer = (values["digit"][rows] >= 5).long()
    agrees = torch.rand(len(rows), generator=generator) < aligned
    bar = torch.where(agrees, answer, 1 - answer)
    small = functional.avg_pool2d(values["image"][rows].float() / 255, 2)
    small[:, :, 2:-2, 0:2] = torch.maximum(small[:, :, 2:-2, 0:2], bar.float()[:, None, None, None])
    return {"image": small, "answer": answer, SUBGROUP: 2 * answer + bar}


def network(width: int) -> nn.Sequential:
    """A small convolutional network."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4)),
        *(nn.Flatten(), nn.Linear(32 * width, 2)),
    )


class Answering(Objective):
    """Cross-entropy, beside what a teacher says; images without labels have the teacher alone."""

    def __init__(self, module: nn.Module, fit: Fit, distillation: Distillation | None):
        super().__init__(module, fit)
        self.distillation = distillation

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        outputs = self.module(batch["image"])
        usual = functional.cross_entropy(outputs, batch["answer"].clamp(min=0), reduction="none")
        usual = usual * (batch["answer"] >= 0)
        if self.distillation is None:
            return usual
        taught = [teacher.outputs(batch["image"]) for teacher in self.distillation.teachers]
        return self.distillation.of_classes(outputs, taught, usual)


def trained(
    width: int, train: Mapping[str, Tensor], seed: int, *, robust: bool = False, teacher: nn.Module | None = None
) -> nn.Module:
    """A network after training, with group DRO or without, from a teacher or from labels alone."""
    torch.manual_seed(seed)
    distillation = None if teacher is None else Distillation([Teacher(teacher, {}, "")], TEMPERATURE, ALPHA)
    objective = Answering(network(width), Fit.model_validate(STEPS), distillation)
    kind = {"kind": "group_dro", "options": {"eta": ETA}, "balanced_batches": True} if robust else {"kind": "mean"}
    divided = Subgrouped(NAMES, train[SUBGROUP], train[SUBGROUP])
    divided.weigh(objective, WeightingEntry.model_validate({"by": "answer,bar", **kind}))
    with tempfile.TemporaryDirectory() as folder:
        circumstances = Circumstances(
            train=train, validation=train, folder=Path(folder), hardware=Hardware("cpu"), seed=seed
        )
        loop.run(objective, circumstances)
    return objective.module.eval()


def accuracy(model: nn.Module, test: Mapping[str, Tensor]) -> tuple[float, float]:
    """(mean over the subgroups, in the worst of them)."""
    with torch.no_grad():
        right = (model(test["image"]).argmax(1) == test["answer"]).float()
    each = [float(right[test[SUBGROUP] == code].mean()) for code in range(len(NAMES))]
    return fmean(each), min(each)


def rows(seed: int, labelled: float) -> dict[str, tuple[float, float]]:
    """Row -> accuracies, of one seed."""
    test = images("test", 2000, 0.5, 1000 + seed)
    train = images("judge", 8000, ALIGNED, seed)
    known = {name: value[: int(labelled * len(train["answer"]))] for name, value in train.items()}
    blind = {
        **train,
        "answer": torch.where(torch.arange(len(train["answer"])) < len(known["answer"]), train["answer"], -1),
    }
    plain, robust = (trained(24, known, seed, robust=way) for way in (False, True))
    return {
        "teacher": accuracy(plain, test),
        "robust teacher": accuracy(robust, test),
        "student of the teacher": accuracy(trained(8, blind, seed, teacher=plain), test),
        "student of the teacher, group DRO (GroupDistil)": accuracy(
            trained(8, blind, seed, robust=True, teacher=plain), test
        ),
        "student of the robust teacher": accuracy(trained(8, blind, seed, teacher=robust), test),
        "student of the robust teacher, group DRO": accuracy(
            trained(8, blind, seed, robust=True, teacher=robust), test
        ),
        "student without a teacher": accuracy(trained(8, known, seed), test),
        "student without a teacher, group DRO": accuracy(trained(8, known, seed, robust=True), test),
    }


READING = """- **A plain student inherits its teacher's error and adds to it**; GroupDistil takes most of that back, with every seed, and its average rises too.
- **Where labels abound, group DRO without any teacher is far better** (worst subgroup .72 to .82). Whoever has the labels needs no teacher.
- **Where labels are few, a teacher helps, if it is robust itself**: a student of the robust teacher with group DRO reaches .61 to .69 in the worst subgroup, group DRO alone .57 to .59.
  A teacher that follows the bar passes that on, whatever the student's weighting.
- **A robust teacher is not enough**: its plain student loses a fifth to nearly all of the worst subgroup's accuracy.
- One row failed: with all labels, the student of the robust teacher with group DRO follows the bar with every seed. A distillation's losses are T^2 = 16 times as large as usual ones, so with
  `eta` 0.05 the weights jump between subgroups from step to step; begin with a smaller `eta` there."""
"""What the numbers say, in words."""
TITLES = {
    "1": "With the labels of all images:",
    f"{FEW:g}": "With the labels of a fifth of the images, of which alone the teachers have learnt:",
}
TEACHER, PLAIN, ROBUST = "teacher", "student of the teacher", "student of the teacher, group DRO (GroupDistil)"
ALONE = "student without a teacher, group DRO"


def shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows."""
    tables = []
    for share, title in TITLES.items():
        rows = [
            {
                "name": name,
                "average": f"{median(told['average']):.3f}",
                "worst": f"{median(told['worst']):.3f}",
                "each": ", ".join(f"{value:.3f}" for value in told["worst"]),
            }
            for name, told in found[share].items()
        ]
        tables.append((title, rows))
    return {
        "found": tables,
        "claims": _claims(found["1"], "all labels") + _claims(found[f"{FEW:g}"], "a fifth"),
        "reading": READING,
    }


def _claims(rows: Mapping[str, Any], what: str) -> list[tuple[str, str]]:
    worst = {name: told["worst"] for name, told in rows.items()}
    average = {name: fmean(told["average"]) for name, told in rows.items()}
    fallen = [a - b for a, b in zip(worst[PLAIN], worst[TEACHER], strict=True)]
    gained = [a - b for a, b in zip(worst[ROBUST], worst[PLAIN], strict=True)]
    alone = [a - b for a, b in zip(worst[ALONE], worst[ROBUST], strict=True)]
    lost = average[PLAIN] - average[ROBUST]

    def said(held: bool, values: list[float]) -> str:
        return ("reproduced" if held else "not reproduced") + f": {', '.join(f'{value:+.3f}' for value in values)}"

    return [
        (
            f"{what}: the worst subgroup of a plain student is worse than its teacher's, with every seed",
            said(max(fallen) < 0, fallen),
        ),
        (
            f"{what}: GroupDistil lifts the worst subgroup of the plain student by at least .10 on average and with every seed, at most .02 of the average lost "
            f"({-lost:+.3f})",
            said(fmean(gained) >= 0.1 and min(gained) > 0 and lost <= 0.02, gained),
        ),
        (
            f"{what}: group DRO without any teacher is better still in the worst subgroup, with every seed",
            said(min(alone) > 0, alone),
        ),
    ]


def main() -> None:
    """All rows, with every seed."""
    found = {}
    for labelled in (1.0, FEW):
        each = [rows(seed, labelled) for seed in SEEDS]
        found[f"{labelled:g}"] = {
            name: {"average": [one[name][0] for one in each], "worst": [one[name][1] for one in each]}
            for name in each[0]
        }
        for name, told in found[f"{labelled:g}"].items():
            print(
                f"{labelled:g} {name:50} " + " ".join(f"{a:.3f}/{w:.3f}" for a, w in zip(*told.values(), strict=True))
            )
    write_text(RESULT, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
