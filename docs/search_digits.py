"""A search for what to open of a diffusion model for 48 digits.

    python docs/search_digits.py OUTPUT  # an hour; writes docs/search_digits.json and docs/images/tune.png

OUTPUT is the folder of docs/capacity.py, whose first base is searched.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml
from capacity import NEW, run

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
READING = """- **The search finds what a sweep of rates finds.** Its best recipes open 8 to 13 % of the numbers and reach the accuracy of full training at the smallest rate; they beat low-rank adaptation at the middle rate,
  and not at the highest. With the rate among what is searched, most of the 18 trials are spent on it.
- **Random search is behind**: a trial of the search is better than its whole front. But its one good trial is nearly as good.
- **Who wins has been lucky**: trained again, search-0012 gives away three images instead of one, and so does fixed low-rank adaptation. One image is 1/48 = .021, about the chance of one.
- **What ignores the question gives nobody away**: `norm_bias` and `sv_diff` show the digit that was asked in fewer than one of ten cases. Without accuracy as an objective they would
  be among the winners."""
"""What the numbers say, in words."""
EXTRACTED, FRECHET, ACCURACY = STUDY["objectives"]  # type: ignore[misc]
FIXED = "lora:rank=4"


def claims(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What is claimed of a search, and what came out."""
    beside = [one for one in found["groups"]["beside"] if one["values"]]
    fixed = [one for one in beside if one["way"].startswith(FIXED)]
    middle, best = fixed[len(fixed) // 2], max(fixed, key=lambda one: one["values"][ACCURACY])
    full = _again(found, [one for one in beside if one["way"].startswith("full")])
    winners = _winners(found, middle)
    kept = [
        name
        for name in winners
        if name in found["again"] and not any(_better(one, found["again"][name][0]) for one in full)
    ]
    return [
        *(
            (
                f"at {rate}, a recipe of the search is at least as good as fixed `{FIXED}` in extraction and Frechet distance, better in one, at >= .9 of its accuracy "
                f"({_told(one)})",
                _said(_winners(found, one)),
            )
            for rate, one in (("the middle of three rates", middle), ("the best of three rates", best))
        ),
        (
            "with a new seed it keeps its rank: no full training that was trained again is better in everything",
            _said(kept),
        ),
    ]


def _winners(found: dict[str, Any], fixed: dict[str, Any]) -> list[str]:
    """Trials of the search that beat a fixed way."""
    tried = [one for one in found["groups"]["search"] if one["values"]]
    return [one["name"] for one in tried if _dominates(one["values"], fixed["values"])]


def _told(one: dict[str, Any]) -> str:
    values = one["values"]
    return f"rate {one['way'].partition('rate=')[2]}: {values[EXTRACTED]:.3f}, {values[FRECHET]:.2f}, {values[ACCURACY]:.2f}"


def _said(names: list[str]) -> str:
    return f"reproduced ({', '.join(names)})" if names else "not reproduced"


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
    run("tune", str(output / "memory-study.yaml"), "--output", str(folder))
    report = json.loads((folder / "report.json").read_text("utf-8"))
    report["study"] |= {"model": "base-0", "suite": "drawn"}
    report["table"] = (folder / "report.md").read_text("utf-8")
    write_text(RESULT, json.dumps(report, indent=1) + "\n")
    shutil.copy(folder / "front.png", PICTURE)


if __name__ == "__main__":
    main()
