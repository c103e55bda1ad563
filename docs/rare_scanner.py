"""What judges of a rare scanner make of a model: effectiveness on the worst scanner, before and after robust training of the judge.

    python docs/rare_scanner.py OUTPUT  # half an hour of one processor; writes docs/rare_scanner.json

Of the slices that judges of the brain volume learn from, 2 % of those of the scanner `noisy` are left, as where a hospital has just bought it. Three judges (mean over slices; group-balanced
batches; group DRO in such batches), three seeds each, judge the same stored answers of the shipped `vae`, by scanner.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, median
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import torch
import yaml

from counterbench.catalog.recipes import WeightingEntry
from counterbench.datasets.adni import ADNI, Template
from counterbench.datasets.loading import card
from counterbench.datasets.source import Draws, Source
from counterbench.storage.files import write_text
from counterbench.training import judges
from counterbench.training.hardware import Hardware

HOME = Path(__file__).parent
RESULT = HOME / "rare_scanner.json"
SEEDS = (7001, 7101, 7201)
RARE, LEFT = "noisy", 0.02
EPOCHS, LIMIT = 8, 400
ASKED = ("age", "apoe")
ROWS: dict[str, tuple[str, WeightingEntry]] = {
    "plain": ("mean over slices", WeightingEntry(kind="mean", by="domain")),
    "balanced": ("group-balanced batches", WeightingEntry(kind="mean", by="domain", balanced_batches=True)),
    "robust": (
        "group DRO, balanced batches",
        WeightingEntry(kind="group_dro", by="domain", options={"eta": 0.05}, balanced_batches=True),
    ),
}


class RareTemplate(Template):
    """The rendered brains, with few slices of the scanner `noisy` to learn from."""

    def draw(self, split: str) -> Draws:
        draws = super().draw(split)
        if split not in ("judge", "validation"):
            return draws
        kept = np.random.default_rng(0).random(len(draws)) < LEFT
        return draws.take(((draws.hidden["scanner"] != 2) | torch.from_numpy(kept)).nonzero()[:, 0])


class RareScanner(ADNI):
    """The card `adni`, so thinned."""

    sources: ClassVar[Mapping[str, type[Source]]] = {"template": RareTemplate}


def record_in(folder: Path) -> Path | None:
    """The record that an evaluation has left somewhere in a folder."""
    return next(folder.rglob("record.json"), None)


def command(*words: str) -> str:
    """Run a command of counterbench; returns what it says."""
    done = subprocess.run([sys.executable, "-m", "counterbench", *words], check=True, capture_output=True, text=True)
    return done.stdout


def card_with(report: Mapping[str, Any], folder: Path) -> Path:
    """The card `adni` with this judge alone."""
    content = yaml.safe_load((HOME.parent / "datasets" / "adni.yaml").read_text("utf-8"))
    entry = report["pooled"]["judges"]["brain_volume"]
    kept = {key: entry[key] for key in ("judge", "options")}
    weights = str((folder / report["pooled"]["weights"]).resolve())
    judge = {**kept, "sources": ["template"], "weights": weights, "sha256": report["pooled"]["sha256"]}
    for key in ("features", "recognisers", "reference_scm", "typical_change"):
        content.pop(key, None)
    path = folder / "adni.yaml"
    path.write_text(yaml.safe_dump({**content, "judges": {"brain_volume": [judge]}}), encoding="utf-8")
    return path


def measured(output: Path) -> dict[str, Any]:
    """Errors of every judge and effectiveness of the model by scanner."""
    asked = output / "vae"
    if record_in(asked) is None:
        words = ["evaluate", "--model", "vae", "--dataset", "adni", "--suite", "standard", "--metrics", "effectiveness"]
        command(*words, "--limit", str(LIMIT), "--keep-answers", "--output", str(asked), "--quiet")
    found: dict[str, list[dict[str, Any]]] = {row: [] for row in ROWS}
    thinned = RareScanner(card("adni"), "template")
    for row, (_, weighting) in ROWS.items():
        for seed in SEEDS:
            folder = output / f"{row}-{seed}"
            if not (folder / "report.json").is_file():
                with patch.object(judges, "ARCHITECTURES", {"pooled": judges.ARCHITECTURES["pooled"]}):
                    report = judges.train_judges(
                        [thinned],
                        ["brain_volume"],
                        output=folder,
                        hardware=Hardware("cpu"),
                        seed=seed,
                        epochs=EPOCHS,
                        weighting=weighting,
                    )
                (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
            report = json.loads((folder / "report.json").read_text("utf-8"))
            judged = folder / "judged"
            if record_in(judged) is None:
                words = [
                    "rejudge",
                    str(record_in(asked)),
                    "--dataset",
                    str(card_with(report, folder)),
                    "--output",
                    str(judged),
                ]
                command(*words, "--metric", "effectiveness")
            path = record_in(judged)
            assert path is not None
            found[row].append(_by_scanner(report, path))
    return found


def _by_scanner(report: Mapping[str, Any], path: Path) -> dict[str, Any]:
    errors = report["pooled"]["by_subgroup"]["brain_volume"]["template"]
    (said,) = json.loads(command("view", str(path), "--by", "domain", "--json"))
    numbers = {
        one["intervened"]: one
        for one in said["numbers"]
        if (one["metric"], one["quantity"], one["measured"]) == ("effectiveness", "absolute_error", "brain_volume")
    }
    return {
        "judge": {name: one["mean_absolute_error"] for name, one in errors.items()},
        "model": {
            do: dict(zip(said["names"], (round(value["value"], 2) for value in numbers[do]["values"]), strict=True))
            for do in ASKED
        },
    }


def shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says."""

    def each(values: list[float]) -> str:
        return f"{median(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})"

    table = []
    for row, (name, _) in ROWS.items():
        judged = found[row]
        others = [fmean(error for scanner, error in one["judge"].items() if scanner != RARE) for one in judged]
        worst = {do: ", ".join(max(one["model"][do], key=one["model"][do].get) for one in judged) for do in ASKED}
        table.append(
            {
                "name": name,
                "others": each(others),
                "rare": each([one["judge"][RARE] for one in judged]),
                **{do: f"{each([one['model'][do][RARE] for one in judged])}; {worst[do]}" for do in ASKED},
            }
        )
    pairs = list(zip(found["plain"], found["robust"], strict=True))
    return {
        "scanners": table,
        "gained": ", ".join(f"{before['judge'][RARE] - after['judge'][RARE]:.1f}" for before, after in pairs),
        "moved": {
            do: ", ".join(f"{before['model'][do][RARE] - after['model'][do][RARE]:.1f}" for before, after in pairs)
            for do in ASKED
        },
    }


def main() -> None:
    """Measure, and keep what came out."""
    output = Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    write_text(RESULT, json.dumps(measured(output), indent=1) + "\n")


if __name__ == "__main__":
    main()
