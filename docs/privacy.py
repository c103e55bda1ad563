"""Who comes out of a generator, of its students, and of students that learnt from filtered samples.

    counterbench sweep run privacy-distillation --output OUTPUT   # an hour and a half of one processor
    python docs/privacy.py OUTPUT  # writes docs/privacy.json and docs/images/privacy.png

A teacher is trained on 64 images until it memorises; students learn from 960 of its samples, from what a verifier leaves of 960, and from 480. Beside the numbers of their records
stands downstream use: a classifier that is trained on 1,000 drawn images alone reads the digit of real test images.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from counterbench import datasets, models
from counterbench.audits.copies import nearest
from counterbench.causal.chance import SampleNoise
from counterbench.judges.network import normalised, untrained
from counterbench.records.record import Record, read_record
from counterbench.storage.files import write_text

HOME = Path(__file__).parent
RESULT, PICTURE = HOME / "privacy.json", HOME / "images" / "privacy.png"
SEEDS = (0, 1, 2)
ROWS = {
    "teacher": "teacher, 64 real images",
    "synthetic-count-960": "student, 960 samples",
    "synthetic-count-480": "student, 480 samples",
    "filtered-count-960": "student, what the filter leaves of 960",
}
WATCHERS = ("siamese", "contrastive", "pixels")
DRAWN, STEPS, SHOWN = 1000, 600, 4


def record_of(folder: Path, row: str, seed: int) -> Record:
    """The record of one training."""
    place = folder / "records" / f"flow-matching-small-{row}-morphomnist-digits-seed{seed}-privacy"
    return read_record(next(place.rglob("record.json")))


def drawn(model: Any, count: int, seed: int) -> dict[str, Tensor]:
    """New individuals with attributes of their own."""
    parts = []
    with torch.no_grad():
        for rows in torch.arange(count).split(250):
            parts.append(
                model.sample(len(rows), None, SampleNoise(seed, [f"downstream/{row}" for row in rows.tolist()]))
            )
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def downstream(values: Mapping[str, Tensor], test: Mapping[str, Tensor], seed: int) -> float:
    """How many real digits a classifier reads that has seen these images alone."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, _ = untrained("plain", values["image"].shape[1:], 10)
    steps = torch.optim.AdamW(network.parameters(), 2e-3)
    network.train()
    for _ in range(STEPS):
        rows = torch.randint(len(values["digit"]), (64,), generator=generator)
        loss = functional.cross_entropy(
            network(normalised(values["image"][rows].float())), values["digit"][rows].long()
        )
        steps.zero_grad()
        loss.backward()
        steps.step()
    network.eval()
    with torch.no_grad():
        said = torch.cat([network(normalised(part.float())).argmax(1) for part in test["image"].split(500)])
    return float((said == test["digit"]).double().mean())


def measured(folder: Path) -> dict[str, Any]:
    """The numbers of every row, by seed, and what is behind the picture."""
    dataset = datasets.load("morphomnist")
    train, test = (dataset.split(name).values for name in ("train", "test"))
    found: dict[str, Any] = {}
    for row in ROWS:
        found[row] = [_of_training(folder, row, seed, dataset, test) for seed in SEEDS]
    few = {name: value[:64] for name, value in train.items()}
    reference = {seed: downstream(few, test, seed) for seed in SEEDS}
    rows = torch.randperm(len(train["digit"]), generator=torch.Generator().manual_seed(0))[:DRAWN]
    real = [downstream({name: value[rows] for name, value in train.items()}, test, seed) for seed in SEEDS]
    record = record_of(folder, "teacher", 0)
    numbers = {(n.quantity, n.space): n for n in record.numbers if n.metric == "reidentification" and not n.intervened}
    floors = {
        name: {watcher: numbers["linked", watcher].references[name].value for watcher in WATCHERS}
        for name in ("identity", "resample")
    }
    return {
        "rows": found,
        "floors": floors,
        "downstream_of_the_64": list(reference.values()),
        "downstream_of_real": real,
    }


def _of_training(folder: Path, row: str, seed: int, dataset: Any, test: Mapping[str, Tensor]) -> dict[str, Any]:
    record = record_of(folder, row, seed)
    by_key = {(n.metric, n.quantity, n.intervened, n.measured, n.space): n.value for n in record.numbers}
    place = folder / "trained" / f"flow-matching-small-{row}-morphomnist-digits-seed{seed}"
    values = drawn(models.load(str(place), dataset).model, DRAWN, seed)
    linked = {watcher: by_key.get(("reidentification", "linked", "", "", watcher)) for watcher in WATCHERS}
    answers = {
        watcher: median(
            [
                v
                for (m, q, do, _, space), v in by_key.items()
                if (m, q, space) == ("reidentification", "linked", watcher) and do
            ]
        )
        for watcher in WATCHERS
        if linked[watcher] is not None
    }
    manifest = json.loads((place / "manifest.json").read_text("utf-8"))
    return {
        "linked": linked,
        "answers_linked": answers,
        "copied": by_key["generation", "copied", "", "", ""],
        "accuracy": by_key["generation", "accuracy", "", "digit", ""],
        "frechet": by_key["generation", "frechet_distance", "", "", "judge"],
        "downstream": downstream(values, test, seed),
        "filter": manifest.get("feed", {}).get("filter"),
    }


def draw(found: Mapping[str, Any], folder: Path) -> None:
    """Links by row and seed; and samples of the first seed, each above the training image that is nearest."""
    dataset = datasets.load("morphomnist")
    train = dataset.split("train").values["image"][:64]
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.5))
    panel = top.subplots()
    marks = {"siamese": "o", "contrastive": "s", "pixels": "^"}
    for place, row in enumerate(ROWS):
        for number, watcher in enumerate(WATCHERS):
            shares = [one["linked"][watcher] for one in found["rows"][row]]
            if None not in shares:
                away = 0.18 * (number - 1)
                panel.plot([place + away] * len(shares), shares, marks[watcher], color=f"C{number}", alpha=0.8)
    for number, watcher in enumerate(WATCHERS):
        panel.plot([], [], marks[watcher], color=f"C{number}", label=watcher)
    panel.axhline(0.05, color="grey", linestyle=":", label="images of others")
    panel.set_xticks(range(len(ROWS)), [name.replace(", ", ",\n") for name in ROWS.values()], fontsize=8)
    panel.set_ylabel("linked to a training individual")
    panel.set_ylim(0, None)
    panel.legend(fontsize=8)
    panels = bottom.subplots(len(ROWS), 1)
    for axes, (row, name) in zip(panels, ROWS.items(), strict=True):
        place = folder / "trained" / f"flow-matching-small-{row}-morphomnist-digits-seed0"
        image = drawn(models.load(str(place), dataset).model, 2 * SHOWN, 7)["image"].round().clamp(0, 255)
        distance, which = nearest(image, train)
        order = distance.argsort()
        pairs = torch.cat([torch.cat([image[i, 0], train[which[i], 0].float()], 1) for i in order.tolist()], 1)
        axes.imshow(pairs, cmap="gray", vmin=0, vmax=255)
        for line in range(1, 2 * SHOWN):
            axes.axvline(64 * line - 0.5, color="white", linewidth=1.5)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_ylabel(
            name.replace(", ", ",\n").replace(" of 960", ""), fontsize=7, rotation=0, ha="right", va="center"
        )
    figure.savefig(PICTURE, dpi=110)


def shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says."""
    rows = found["rows"]

    def each(values: list[float | None]) -> str:
        known = [value for value in values if value is not None]
        return f"{median(known):.3f} ({', '.join(f'{value:.2f}' for value in known)})" if known else "filtered"

    table = [
        {
            "name": name,
            **{watcher: each([one["linked"][watcher] for one in rows[row]]) for watcher in WATCHERS},
            "answers": each([one["answers_linked"].get("siamese") for one in rows[row]]),
            **{key: each([one[key] for one in rows[row]]) for key in ("accuracy", "frechet", "downstream")},
        }
        for row, name in ROWS.items()
    ]
    filters = [one["filter"] for one in rows["filtered-count-960"]]
    levels = list(filters[0]["audit"]["sensitivity"])
    audit = {level: median([one["audit"]["sensitivity"][level] for one in filters]) for level in levels}
    return {
        "table": table,
        "floors": found["floors"],
        "few": each(found["downstream_of_the_64"]),
        "many": each(found["downstream_of_real"]),
        "removed": [f"{one['train']['removed'] / one['train']['made']:.0%}" for one in filters],
        "audit": audit,
        "specificity": median([one["audit"]["specificity"] for one in filters]),
        "claims": claims(rows),
        "reading": READING,
    }


READING = """What it says:

- By a verifier that filtered nothing, students of filtered samples are linked little more often than images of others are. Fewer samples alone do not do that: the student of 480 unfiltered samples, about as many
  as the filter leaves, is linked as often as the one of 960.
- By pixels less is gained: a student of filtered samples is still linked several times as often as images of others. The verifier looks at who it is, and lets pass what looks like a training image by chance or
  by being smooth. Both numbers belong into a release.
- It costs something: samples of the filtered student are harder to read, and farther from real images. Downstream use, little with 64 images
  behind it, stays as it is.
- Counterfactuals about test images give nobody away here, not even those of the teacher: they keep the noise of what they were asked about. It is the drawn individuals that leak.
- The teacher was made to memorise: 64 images, each seen 1,500 times. It is no estimate of what a generator of thousands of patients gives away.
"""


def claims(rows: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What should be shown, and whether it was: in every seed."""

    def linked(row: str, watcher: str) -> list[float]:
        return [one["linked"][watcher] for one in rows[row]]

    said = []
    for watcher in ("siamese", "pixels"):
        teacher, plain, filtered = (
            linked(row, watcher) for row in ("teacher", "synthetic-count-960", "filtered-count-960")
        )
        ratios = [student / source for student, source in zip(filtered, teacher, strict=True)]
        said.append(
            (
                f"filtered student is linked at most half as often as the teacher ({watcher})",
                _verdict(ratios, max(ratios) <= 0.5),
            )
        )
        less = [one - other for one, other in zip(filtered, plain, strict=True)]
        said.append(
            (
                f"filtered student is linked less often than the unfiltered one ({watcher})",
                _verdict(less, max(less) < 0),
            )
        )
    lost = [
        student["downstream"] - teacher["downstream"]
        for student, teacher in zip(rows["filtered-count-960"], rows["teacher"], strict=True)
    ]
    said.append(("downstream use at most .12 below the teacher's", _verdict(lost, min(lost) >= -0.12)))
    return said


def _verdict(values: list[float], holds: bool) -> str:
    words = ", ".join(f"{value:.2f}" for value in values)
    return f"{'reproduced' if holds else 'not reproduced'}: {words}"


def main() -> None:
    """Measure what a sweep has made."""
    folder = Path(sys.argv[1])
    found = measured(folder)
    write_text(RESULT, json.dumps(found, indent=1) + "\n")
    draw(found, folder)


if __name__ == "__main__":
    main()
