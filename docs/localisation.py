"""Where did it change, and where does a model look for a phrase: the numbers of docs/localisation.md and docs/parts.md.

    python docs/localisation.py MODELS SEGMENTERS  # writes docs/localisation.json; half an hour of one processor

MODELS holds three trainings of `flow-matching` for each dataset with lesions (`digits-0` .. `digits-2`, `brains-0` .. `brains-2`, made by
`counterbench train --model flow-matching --dataset ... --seed N`), SEGMENTERS the folders that `counterbench train-segmenter` writes, called
KIND-LABELS-UNLABELLED-SEED. What is not there is left as it was stored.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from counterbench import datasets, evaluation, models
from counterbench.catalog.suites import find_suite
from counterbench.datasets.dataset import Dataset
from counterbench.metrics.localisation import SCORES, in_boxes, random_map
from counterbench.models.baselines import TrueCounterfactual
from counterbench.models.grounding import Rule, forgetful, ground
from counterbench.models.model import Contestant
from counterbench.records.record import Record

RESULT = Path(__file__).with_name("localisation.json")
NAMES = {"brains": "adni-lesions", "digits": "morphomnist-lesions"}
SEEDS, LIMIT, GROUNDED, STEPS = (0, 1, 2), 200, 150, 20
METRICS = ["effectiveness", "truth", "localisation", "parts"]
RULES: dict[str, dict[str, Any]] = {
    "weights, all words (published)": {},
    "weights, the subject's words": {"words": "subject"},
    "what is heard": {"reads": "heard"},
    "change of the prediction": {"reads": "prediction"},
}
LEAK = 12.0
"""Grey levels by which a leaking answer brightens what it should leave alone."""


class Spoilt:
    """The truth, spoilt on purpose: it knows the samples by their pixels, as nobody else may.

    Args:
        dataset: with truth.
        how: `leak` brightens the hemisphere in which the lesion is not, `everything` moves all of the image by a smooth pattern, `shuffled`
            answers for somebody else.
    """

    def __init__(self, dataset: Dataset, how: str):
        self.dataset, self.how, self.truth = dataset, how, TrueCounterfactual(dataset)
        images = dataset.split("test").values[dataset.card.image]
        self.rows = {image.numpy().tobytes(): row for row, image in enumerate(images)}

    def can_answer(self, intervened: Any) -> bool:
        """Only questions whose true answer is known."""
        return self.truth.can_answer(intervened)

    def counterfactual(self, factual: Any, interventions: Mapping[str, Tensor], generator: Any = None) -> Any:
        name = self.dataset.card.image
        pixels = factual[name].round().to(torch.uint8)
        index = torch.tensor([self.rows[image.numpy().tobytes()] for image in pixels])
        if self.how == "shuffled":
            index = (index + 401) % len(self.dataset.split("test"))
        asked = self.dataset.split("test").take(index)
        truth = self.truth.counterfactual(asked, interventions)
        if not interventions:
            return {**truth, name: factual[name]}
        image = truth[name].float()
        if self.how == "leak":
            parts, side = self.dataset.card.parts, asked["side"]
            mask = self.dataset.masks("test", index, interventions)
            assert mask is not None
            other = torch.tensor([parts.index("right"), parts.index("left")])[side.long()]
            image = image + LEAK * (mask.long() == other[:, None, None])[:, None]
        if self.how == "everything":
            place = torch.linspace(-1, 1, image.shape[-1])
            image = image + LEAK * torch.sin(5 * place[:, None] + 3 * place[None, :])
        return {**truth, name: image.round().clamp(0, 255)}


def scored(contestant: Contestant, dataset: Dataset) -> Record:
    """One row, with all baselines."""
    suite = find_suite("localisation").model_copy(update={"joint": False})
    exam = evaluation.prepare(dataset, suite, metrics=METRICS, limit=LIMIT, device="cpu")
    record: Record = evaluation.evaluate(contestant, exam).record
    return record


def told(record: Record, intervened: str) -> dict[str, dict[str, Any]]:
    """Quantity -> [value, low, high] of the row and of its baselines, under one intervention."""
    found: dict[str, dict[str, Any]] = {}
    for number in record.numbers:
        if number.intervened != intervened or (number.measured and number.metric == "parts"):
            continue
        key = f"{number.metric} {number.quantity} {number.measured} {number.space}".strip()
        found[key] = {"model": [number.value, number.low, number.high]} | {
            name: [one.value, one.low, one.high] for name, one in number.references.items() if one is not None
        }
    return found


def rows(models_at: Path) -> Iterator[tuple[str, str, Record]]:
    """(dataset, row, record)."""
    for short, name in NAMES.items():
        dataset = datasets.load(name)
        for how in ("leak", "everything", "shuffled") if short == "brains" else ("everything", "shuffled"):
            yield short, how, scored(Contestant(how, Spoilt(dataset, how)), dataset)
        for seed in SEEDS:
            folder = models_at / f"{short}-{seed}"
            if (folder / "manifest.json").is_file():
                yield short, f"flow-matching {seed}", scored(models.load(str(folder), dataset, device="cpu"), dataset)


def grounded(models_at: Path) -> dict[str, Any]:
    """Dataset -> seed -> rule -> whose map -> score."""
    result: dict[str, Any] = {}
    for short, name in NAMES.items():
        dataset = datasets.load(name)
        every = torch.arange(len(dataset.split("test")))
        boxes = dataset.role("boxes", "test", every)
        assert isinstance(boxes, Tensor)
        rows = (~boxes.isnan().any(1)).nonzero()[:GROUNDED, 0]
        values = dataset.split("test").take(rows)
        phrases = [str(one) for one in dataset.role("caption", "test", rows)]
        images = values[dataset.card.image].double()
        inside = in_boxes(boxes[rows], images.shape[2:])
        brightness = images.mean(1)
        maps = {"image intensity": brightness, "dark places": -brightness, "random map": random_map(brightness, rows)}
        result[short] = {"beside": {name: of(one, inside) for name, one in maps.items()}, "seeds": {}}
        for seed in SEEDS:
            folder = models_at / f"{short}-{seed}"
            if not (folder / "manifest.json").is_file():
                continue
            model: Any = models.load(str(folder), dataset, device="cpu").model
            fresh = forgetful(model, dataset.card.image)
            result[short]["seeds"][str(seed)] = {
                rule: {
                    word: of(
                        ground(scm, values, phrases, image=dataset.card.image, rule=Rule(steps=STEPS, **options)),
                        inside,
                    )
                    for word, scm in (("trained", model), ("untrained", fresh))
                }
                for rule, options in RULES.items()
            }
            print(short, seed, result[short]["seeds"][str(seed)], file=sys.stderr, flush=True)
    return result


def of(maps: Tensor, inside: Tensor) -> dict[str, float]:
    """Mean scores."""
    return {name: round(float(score(maps, inside).nanmean()), 4) for name, score in SCORES.items()}


def segmented(at: Path) -> dict[str, Any]:
    """`DATASET KIND-LABELS-UNLABELLED` -> figures of every seed; of folders called ...KIND-LABELS-UNLABELLED-SEED."""
    found: dict[str, Any] = {}
    for path in sorted(at.glob("*-*-*-*/segmenters.json")):
        kind, labels, unlabelled, _ = path.parent.name.split("-")[-4:]
        report = json.loads(path.read_text("utf-8"))
        (entry,) = report["segmenters"]
        figures = next(iter(entry["quality"].values()))
        found.setdefault(f"{report['dataset']} {kind}-{labels}-{unlabelled}", []).append(figures)
    return found


def shown(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What the pages say of the numbers."""
    grounding = [
        grounding_table(short, stored["grounding"][short]) for short in NAMES if stored["grounding"].get(short)
    ]
    return {
        "rows": list(row_table(stored["rows"])),
        "leak": leak_table(stored["rows"].get("brains", {})),
        "grounding": [one for one in grounding if one["seeds"]],
        "claims": [
            claim
            for short in NAMES
            if stored["grounding"].get(short)
            for claim in claims(short, stored["grounding"][short])
        ],
        "segmenters": list(segmenter_table(stored["segmenters"])),
        "limit": LIMIT,
        "grounded": GROUNDED,
        "steps": STEPS,
    }


def row_table(rows: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Lines of the table of localisation under do(lesion)."""
    for short, name in NAMES.items():
        of_dataset = rows.get(short, {})
        trained = [of_dataset[row]["lesion"] for row in of_dataset if row.startswith("flow")]
        spoilt = {row: of_dataset[row]["lesion"] for row in ("leak", "everything", "shuffled") if row in of_dataset}
        some = next(iter(of_dataset.values()), {}).get("lesion")
        if some is None:
            continue

        def line(row: str, cells: Mapping[str, str], name: str = name) -> dict[str, str]:
            return {"dataset": f"`{name}`", "row": row, **cells}

        yield line("`truth`", cells_of([some], "truth"))
        for row, told_of in spoilt.items():
            yield line(f"`{row}`", cells_of([told_of], "model"))
        if trained:
            yield line(f"`flow-matching`, {len(trained)} seeds", cells_of(trained, "model"))
        for row in ("identity", "retrieve", "noise"):
            yield line(f"`{row}`", cells_of([some], row))


CELLS = {
    "auc": "localisation auc",
    "overlap": "localisation overlap",
    "pointing": "localisation pointing",
    "outside": "parts outside_change",
    "share": "parts outside_share",
    "dice": "parts equivariance",
    "effect": "effectiveness accuracy lesion",
}


def cells_of(told_of: list[Mapping[str, Any]], row: str) -> dict[str, str]:
    """The cells of a line, medians over trainings, with the interval where there is one training."""
    found = {}
    for cell, key in CELLS.items():
        values = [one[key][row] for one in told_of if row in one.get(key, {})]
        found[cell] = "-" if not values else f"{median(value[0] for value in values):.3g}"
        if len(values) == 1 and values[0][1] is not None:
            found[cell] += f" [{values[0][1]:.3g}, {values[0][2]:.3g}]"
    return found


def leak_table(rows: Mapping[str, Any]) -> dict[str, Any] | None:
    """The planted leak beside the truth; None where it was not measured."""
    if "leak" not in rows:
        return None
    told_of = rows["leak"]["lesion"]
    lines = [
        {"row": "`truth`", **cells_of([told_of], "truth")},
        {"row": "the truth with a leak", **cells_of([told_of], "model")},
        {"row": "somebody else's truth", **cells_of([rows["shuffled"]["lesion"]], "model")},
        {"row": "`identity`", **cells_of([told_of], "identity")},
    ]
    return {"levels": f"{LEAK:g}", "judged": any(line["effect"] != "-" for line in lines), "lines": lines}


def grounding_table(short: str, of_dataset: Mapping[str, Any]) -> dict[str, Any]:
    """One dataset: a line for every rule, then for what stands beside."""
    seeds = list(of_dataset["seeds"].values())

    def middle(rule: str, whose: str, score: str) -> str:
        return f"{median(seed[rule][whose][score] for seed in seeds):.2f}"

    lines = [
        {
            "name": rule,
            "each": ", ".join(f"{seed[rule]['trained']['auc']:.2f}" for seed in seeds),
            "untrained": middle(rule, "untrained", "auc"),
            **{score: middle(rule, "trained", score) for score in SCORES},
        }
        for rule in (RULES if seeds else ())
    ]
    lines += [
        {"name": name, "each": "-", "untrained": "-", **{score: f"{value:.2f}" for score, value in scores.items()}}
        for name, scores in of_dataset["beside"].items()
    ]
    return {"name": NAMES[short], "seeds": len(seeds), "lines": lines}


def claims(short: str, of_dataset: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """What was to be shown, for the published rule and for what is heard."""
    seeds, name = list(of_dataset["seeds"].values()), NAMES[short]
    intensity = of_dataset["beside"]["image intensity"]["auc"]
    for rule in ("weights, all words (published)", "what is heard"):
        if not seeds:
            return
        trained = median(seed[rule]["trained"]["auc"] for seed in seeds)
        contrast = median(seed[rule]["trained"]["contrast"] for seed in seeds)
        before = median(seed[rule]["untrained"]["auc"] for seed in seeds)
        words = f"`{name}`, {rule}"
        for what, value, holds in (
            ("area at least .64", trained, trained >= 0.64),
            (f"area at least that of the intensity ({intensity:.2f}) + .03", trained, trained >= intensity + 0.03),
            ("contrast at least .35", contrast, contrast >= 0.35),
            ("untrained network below .58", before, before < 0.58),
        ):
            yield {"words": f"{words}: {what}", "verdict": f"{'yes' if holds else 'no'} ({value:.2f})"}


def segmenter_table(stored: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A line for every segmenter that was trained."""
    names = {"unet-0": "`unet`", "vmf-1": "`vmf`", "vmf-0": "`vmf`, labels alone"}
    for key, figures in sorted(
        stored.items(), key=lambda item: (item[0].split(" ")[0], int(item[0].split("-")[-2]), item[0])
    ):
        dataset, _, how = key.partition(" ")
        kind, labels, unlabelled = how.split("-")
        middle = {name: f"{median(one[name] for one in figures):.3f}" for name in figures[0]}
        yield {
            "dataset": f"`{dataset}`",
            "name": names[f"{kind}-{unlabelled}"],
            "labels": labels,
            "dice": middle["dice"],
            "lesion": middle["dice_lesion"],
            "unseen": middle.get("dice_noisy", "-"),
            "far": f"{median(one['hausdorff'] for one in figures):.2f}",
            "seeds": len(figures),
        }


def main(models_at: str, segmenters_at: str) -> None:
    """Measure what is there."""
    stored = (
        json.loads(RESULT.read_text("utf-8")) if RESULT.is_file() else {"rows": {}, "grounding": {}, "segmenters": {}}
    )
    stored["segmenters"] = segmented(Path(segmenters_at)) or stored["segmenters"]
    stored["grounding"] = grounded(Path(models_at)) or stored["grounding"]
    for short, row, record in rows(Path(models_at)):
        asked = [name for name in ("lesion", "side", "size") if any(n.intervened == name for n in record.numbers)]
        stored["rows"].setdefault(short, {})[row] = {name: told(record, name) for name in asked}
        RESULT.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    RESULT.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
