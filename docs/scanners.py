"""What to open of a trained model for a new scanner, and of a trained judge for new classes, by how many images there are.

    python docs/scanners.py OUTPUT [--collect]  # hours of one processor; writes docs/scanners.json and docs/images/scanners.png

A VAE of brains is trained on two of three scanners and trained further on images of the third; judges of digits are trained on 0 to 4 and trained further on 5 to 9. OUTPUT keeps what
is done, so the command can be interrupted; with --collect nothing is trained. Every training and evaluation is a command of counterbench.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml
from capacity import NEW, OLD, run

from counterbench.records.record import read_record
from counterbench.storage.files import write_text
from counterbench.sweeps.openings import ROW_SKILL, Opening, best_rates, crossovers, way_of

HOME = Path(__file__).parent
RESULT, PICTURE = HOME / "scanners.json", HOME / "images" / "scanners.png"
SEEDS = [0, 1, 2]
SUITE = {
    "name": "noisy-scanner",
    "title": "The noisy scanner",
    "description": "Counterfactuals of the noisy scanner's images alone.",
    **{"cycles": 1, "single": True, "where": {"domain": ["noisy"]}, "references": 2000, "resamples": 200},
    "metrics": {
        name: {} for name in ("effectiveness", "off_target", "truth", "composition", "recognition", "memorisation")
    },
}
ADAPT = {
    "kinds": ["full", "lora:rank=4", "norm_bias", "sv_diff"],
    "where": {"domain": ["noisy"]},
    "limits": [10, 50, 500],
    "learning_rates": [0.0003, 0.0015, 0.006],
    "steps": 100,
}
JUDGED = {
    "variables": ["digit"],
    "kinds": ["full", "norm_bias", "linear"],
    "where": {"digit": NEW},
    "limits": [10, 500],
    "learning_rates": [0.001, 0.006],
    "steps": 60,
}


def sweep(output: Path, name: str, **content: Any) -> None:
    """Write a sweep and run what is not done of it."""
    path = output / f"{name}.yaml"
    shared = {"name": name, "seeds": SEEDS, "device": "cpu"}
    write_text(path, yaml.safe_dump({**shared, **content}, sort_keys=False))
    run("sweep", "run", str(path), "--output", str(output / name), "--engine", "warm")


def make(output: Path) -> None:
    """Train the base and the judges to start from, and whatever is made from them."""
    suite, base, judges = output / "noisy.yaml", output / "base", output / "judges"
    write_text(suite, yaml.safe_dump(SUITE, sort_keys=False))
    run(
        *["train", "--model", "vae", "--dataset", "adni", "--where", "domain=reference,soft", "--resume", "--output"],
        str(base),
    )
    models = [{"model": str(base), "adapt": ADAPT}]
    sweep(output, "scanner-to-scanner", models=models, datasets=["adni"], suites=[str(suite)], budget={"limit": 100})
    if not (judges / "judges.json").exists():
        where = f"digit={','.join(OLD)}"
        run(
            *f"train-judges --dataset morphomnist --variable digit --where {where} --epochs 6 --output".split(),
            str(judges),
        )
    sweep(output, "digits-to-digits", judges={**JUDGED, "init": str(judges)}, datasets=["morphomnist"])


def collected(output: Path) -> dict[str, Any]:
    """What came out of both, and of the model as it was."""
    openings = output / "scanner-to-scanner" / "openings"
    found: dict[str, Any] = {"model": json.loads((openings / "noisy-scanner.json").read_text("utf-8"))}
    judges = output / "digits-to-digits" / "openings" / "judges.json"
    found["judges"] = json.loads(judges.read_text("utf-8")) if judges.exists() else None
    records = map(read_record, sorted((output / "scanner-to-scanner" / "records").rglob("record.json")))
    (as_it_is,) = (one for one in records if way_of(one) is None and not one.is_baseline)
    found["as_it_is"] = as_it_is.row_skill.value if as_it_is.row_skill else None
    return found


COLUMNS = {
    "row skill": "row skill",
    "effectiveness: skill": "effectiveness",
    "truth: truth skill": "truth skill",
    "recognition: recognised": "recognised",
    "memorisation: copies of training images": "copies",
}
"""Column of a sweep -> how it is called here."""
READING = """- **All ways gain, and little**: .004 to .010 on top of .070, whose interval is [.066, .073]. Answers begin with the photograph, so most of what is new about the scanner is in them already;
  what there is to win is the contrast of what changes.
- **With 10 images, open little.** `sv_diff` is best, and no learning rate spoils it (.071 to .078). `full` needs the smallest rate (.073); at .006 it falls to .043, below the model as it was.
- **With 500 images, open everything**: `full` at .0015 reaches .080 (seeds .078, .080, .081), ahead of all others in row skill and truth skill.
- **More images help `full` and hardly anything else.** `lora` and `sv_diff` are as good with 10 images as with 500, within the range of their seeds.
- Nobody's image comes out: one counterfactual in a hundred is as near to a training image as the nearest hundredth of held-out images is."""
READING_OF_JUDGES = """Guessing among five classes scores .2. Ten images teach nobody much in 60 steps, and of 500 only full training learns: what `linear` and `norm_bias` may move does not get from "never 5 to 9" to "always
one of them" in so few steps at these rates. They need more steps or larger rates, which were not tried here. That small networks gain nothing from opening little is what others found for small, weakly
trained networks too (Dutt et al. 2023 find the gains to grow with the size of the model)."""
"""What the numbers say, in words."""


def table(chosen: list[Opening], columns: dict[str, str]) -> str:
    """A row for every kind and number of samples."""
    there = {name: word for name, word in columns.items() if name in chosen[0].values}
    heads = ["images", "opened", "numbers", "rate", "seconds", *there.values()]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for one in chosen:
        cells = [f"{one.samples}", f"`{one.kind}`", f"{one.opened:,}", f"{one.rate:g}", f"{one.seconds:.0f}"]
        lines.append("| " + " | ".join([*cells, *(f"{one.values[name]:.3g}" for name in there)]) + " |")
    return "\n".join(lines)


def unimproved(chosen: list[Opening], column: str) -> list[str]:
    """Kinds that are no better with the most samples than with the fewest."""
    sizes = sorted({one.samples for one in chosen if one.samples is not None})
    value = {(one.kind, one.samples): one.values[column] for one in chosen}
    sign = -1 if chosen[0].better[column] == "lower" else 1
    kinds = sorted({one.kind for one in chosen})
    return [kind for kind in kinds if sign * value[kind, sizes[-1]] <= sign * value[kind, sizes[0]]]


def shown(found: dict[str, Any]) -> dict[str, Any]:
    """What the page shows."""
    accuracy = "digit: accuracy"
    columns = {"model": ROW_SKILL, **({} if found["judges"] is None else {"judges": accuracy})}
    chosen = {
        what: best_rates([Opening(**one) for one in found[what]["openings"]], column)
        for what, column in columns.items()
    }
    claims = []
    for what, column in columns.items():
        ways, size = chosen[what], crossovers(chosen[what])[column]
        others = unimproved(ways, column)
        result = "reproduced" if not others else f"not reproduced: {', '.join(others)} did not"
        claims.append((f"{what}: every kind improves from 10 to 500 images ({column}, medians)", result))
        claims.append(
            (
                f"{what}: full training is ahead of all other kinds ({column})",
                f"from {size} images on" if size else "never",
            )
        )
    return {
        "as_it_is": found["as_it_is"],
        "model": table(chosen["model"], COLUMNS),
        "judges": table(chosen["judges"], {accuracy: "accuracy"}) if "judges" in chosen else "",
        "reading": READING,
        "reading_of_judges": READING_OF_JUDGES,
        "claims": claims,
    }


def main() -> None:
    """Everything."""
    output = Path(sys.argv[1]).resolve()
    if "--collect" not in sys.argv[2:]:
        make(output)
    write_text(RESULT, json.dumps(collected(output), indent=1) + "\n")
    shutil.copy(output / "scanner-to-scanner" / "openings" / "noisy-scanner.png", PICTURE)


if __name__ == "__main__":
    main()
