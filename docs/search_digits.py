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


def shown(found: dict[str, Any]) -> str:
    """The table of the page."""
    return str(found["table"])


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
