"""A search for what to open of a diffusion model for 48 digits.

    python docs/search_digits.py OUTPUT  # an hour; writes docs/search_digits.json and docs/images/tune.png

OUTPUT is the folder of docs/capacity.py, whose first base is searched.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from capacity import NEW

from counterbench.storage.files import write_text

HOME = Path(__file__).parent
RESULT, PICTURE = HOME / "search_digits.json", HOME / "images" / "tune.png"
SUITE = {
    "name": "drawn",
    "title": "New individuals of digits 5 to 9",
    **{"cycles": 0, "single": False, "samples": True, "where": {"digit": NEW}, "references": 2000, "resamples": 100},
    "metrics": {"generation": {}, "extraction": {}},
}
STUDY = {
    "name": "memory-study",
    "title": "What to open of a small diffusion model for 48 digits",
    **{"dataset": "morphomnist", "where": {"digit": NEW}, "limit": 48},
    "space": {
        "kinds": ["norm_bias", "lora", "sv_diff"],
        "masks": True,
        "ranks": [2, 4, 8],
        "learning_rate": [0.0003, 0.01],
    },
    **{"steps": 300, "asked": 200, "trials": 18, "population": 6, "random": 18},
    "objectives": ["extraction.extracted", "generation.frechet_distance", "generation.accuracy.digit"],
    **{"beside": ["full", "lora:rank=4"], "fresh_seeds": [101], "device": "cpu"},
}
READING = ""
"""What the numbers say, in words."""
EXTRACTED, FRECHET, ACCURACY = STUDY["objectives"]  # type: ignore[misc]
FIXED = "lora:rank=4"


def claims(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What is claimed of a search, and what came out."""
    beside = [one for one in found["groups"]["beside"] if one["values"]]
    fixed = [one for one in beside if one["way"].startswith(FIXED)]
    best = max(fixed, key=lambda one: one["values"][ACCURACY])
    winners = [
        one["name"] for one in found["groups"]["search"] if one["values"] and _dominates(one["values"], best["values"])
    ]
    full = [one for one in beside if one["way"].startswith("full")]
    kept = [
        name
        for name in winners
        if name in found["again"] and not any(_better(one, found["again"][name][0]) for one in _again(found, full))
    ]
    told = f"{best['way']}: extraction {best['values'][EXTRACTED]:.3f}, Frechet {best['values'][FRECHET]:.2f}, accuracy {best['values'][ACCURACY]:.2f}"
    return [
        (
            f"some recipe of the search is at least as good as fixed `{FIXED}` ({told}) in extraction and Frechet distance, better in one, at >= .9 of its accuracy",
            f"reproduced ({', '.join(winners)})" if winners else "not reproduced",
        ),
        (
            "with a new seed it keeps its rank against full training: no full training that was tried again is better in everything",
            f"reproduced ({', '.join(kept)})" if kept else "not reproduced",
        ),
    ]


def _again(found: dict[str, Any], several: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [found["again"][one["name"]][0] for one in several if one["name"] in found["again"]]


def _dominates(values: dict[str, float], other: dict[str, float]) -> bool:
    """At least as good in extraction and Frechet distance, better in one of them, and nearly as accurate."""
    pairs = [(values[name], other[name]) for name in (EXTRACTED, FRECHET)]
    nearly = values[ACCURACY] >= 0.9 * other[ACCURACY]
    return nearly and all(one <= two for one, two in pairs) and any(one < two for one, two in pairs)


def _better(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Better in everything."""
    a, b = one["values"], other["values"]
    return bool(a and b) and a[EXTRACTED] < b[EXTRACTED] and a[FRECHET] < b[FRECHET] and a[ACCURACY] > b[ACCURACY]


def main() -> None:
    """Search, then keep the table, the picture and everything else."""
    output = Path(sys.argv[1]).resolve()
    write_text(output / "drawn.yaml", yaml.safe_dump(SUITE, sort_keys=False))
    study = {**STUDY, "model": str(output / "base-0"), "suite": str(output / "drawn.yaml")}
    write_text(output / "memory-study.yaml", yaml.safe_dump(study, sort_keys=False))
    folder = output / "study"
    command = ["tune", str(output / "memory-study.yaml"), "--output", str(folder)]
    subprocess.run([sys.executable, "-m", "counterbench", *command], check=True)
    report = json.loads((folder / "report.json").read_text("utf-8"))
    report["study"] |= {"model": "base-0", "suite": "drawn"}
    report["table"] = (folder / "report.md").read_text("utf-8")
    write_text(RESULT, json.dumps(report, indent=1) + "\n")
    shutil.copy(folder / "front.png", PICTURE)


if __name__ == "__main__":
    main()
