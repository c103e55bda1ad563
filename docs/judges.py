"""The judges of the catalogue's cards: calibration of the closed forms, and the sensitivity card of every judge.

python docs/judges.py profile            # fit the coefficients of the stroke's profile, and print them
python docs/judges.py sensitivity        # measure every judge again and write docs/judges.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import torch

from counterbench import datasets, judges
from counterbench.judges.intensity import shape_of_profile, terms
from counterbench.judges.network import NetworkJudge
from counterbench.judges.sensitivity import blur, noise, sensitivity
from counterbench.storage.files import write_text

HERE = Path(__file__).parent
RESULT = HERE / "judges.json"
SOURCES = (
    ("morphomnist", "digits"),
    ("morphomnist", "mnist"),
    ("adni", "template"),
    ("adni", "phantom"),
    ("adni-3d", "template"),
    ("celeba-simple", "portraits"),
    ("celeba-complex", "portraits"),
)
IMAGES = 100
BLURS_AND_NOISES = ((0, 0), (0, 0), (0, 0), (0.3, 0), (0.5, 3), (0.7, 0), (0.9, 5), (0, 5), (0, 10), (0.4, 8))
"""What the profile is fitted on: sharp images three times, then blurred and noisy ones."""


def profile(data_dir: Path | None, images: int = 6000) -> list[float]:
    """Coefficients of the polynomial in the shape of a stroke's profile: least absolute errors, by reweighting."""
    seen, wanted = [], []
    for source in ("digits", "mnist"):
        judged = datasets.load("morphomnist", source, data_dir=data_dir).split("judge").take(slice(0, images))
        for width, grain in BLURS_AND_NOISES:
            pictures = judged["image"].float()
            pictures = blur(pictures, width) if width else pictures
            pictures = (noise(pictures, grain) if grain else pictures).round().clamp(0, 255)
            background, height, shape = shape_of_profile(pictures[:, 0])
            seen.append(terms(shape))
            wanted.append((judged["intensity"].double() - background) / height)
    matrix, target = torch.cat(seen), torch.cat(wanted)
    weight = torch.ones_like(target)
    for _ in range(20):
        root = weight.sqrt()[:, None]
        solution = torch.linalg.lstsq(root * matrix, root * target[:, None]).solution[:, 0]
        weight = 1 / (matrix @ solution - target).abs().clamp(min=0.01)
    return [round(float(number), 4) for number in solution]


def measured(data_dir: Path | None) -> dict[str, dict[str, list[dict[str, object]]]]:
    """dataset/source -> variable -> every judge's sensitivity."""
    found: dict[str, dict[str, list[dict[str, object]]]] = {}
    for name, source in SOURCES:
        try:
            dataset = datasets.load(name, source, data_dir=data_dir)
            few = dataset.split("test").take(slice(0, IMAGES))
        except Exception as error:
            print(f"{name}/{source} is left out: {error}", file=sys.stderr)
            continue
        for variable, panel in judges.load(dataset.card, source).items():
            for member in panel.members:
                beside = [one for one in panel.members if one is not member]
                what = getattr(member, "architecture", None) or type(member).__name__.lower()
                card = sensitivity(member, few[dataset.card.image], few[variable], beside=beside)
                entry = {"judge": what, "trained": isinstance(member, NetworkJudge), "sensitivity": card}
                found.setdefault(f"{name}/{source}", {}).setdefault(variable, []).append(entry)
                print(name, source, variable, what, card, file=sys.stderr)
    return found


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["profile", "sensitivity"])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("COUNTERBENCH_DATA"))
    given = parser.parse_args()
    if given.what == "profile":
        print(json.dumps(profile(given.data_dir)))
    else:
        write_text(RESULT, json.dumps({"images": IMAGES, "judges": measured(given.data_dir)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
