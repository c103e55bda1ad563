"""What the way of answering does to trained models: what is put back of the photograph, and where the change may act.

python docs/answering.py [DATASET ...]  # writes docs/answering.json, from which docs/make.py makes the table of docs/answering.md; some minutes

Nothing is trained. Every model is asked in several ways, about the first test images of every rendered source.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from counterbench import datasets, evaluation, models
from counterbench.catalog.recipes import AnswerEntry
from counterbench.mechanisms.capabilities import HasPixelTemperature
from counterbench.models.answering import Answering
from counterbench.models.model import Contestant
from counterbench.models.scm import StructuralCausalModel
from counterbench.storage.files import write_text

RESULT = Path(__file__).with_name("answering.json")
SOURCES = {"morphomnist": "digits", "adni": "phantom", "celeba-simple": "portraits", "celeba-complex": "portraits"}
MODELS = ("hvae", "vae", "gan", "flow-matching")
IMAGES = 200
LOCAL = (0.2, 0.3, 0.4, 0.6)
WAYS: dict[str, AnswerEntry | float] = {
    "prediction": 0.0,
    "a tenth of the noise": 0.1,
    "all noise": 1.0,
    "levels": AnswerEntry(residual=1.0),
    **{f"levels, local {share:g}": AnswerEntry(residual=1.0, local=share) for share in LOCAL},
}
"""How a model answers: with so much of the abducted pixel noise, in standard deviations, or with its change on the photograph."""
QUANTITIES = {
    ("truth", "truth_skill"): "truth",
    ("truth", "change_skill"): "change",
    ("truth", "effect"): "effect",
    ("effectiveness", "skill"): "effectiveness",
    ("composition", "l1"): "composition",
    ("reversibility", "l1"): "reversibility",
}


def asked_so(contestant: Contestant, way: AnswerEntry | float) -> Contestant:
    """The same model, answering in this way."""
    scm = contestant.model
    assert isinstance(scm, StructuralCausalModel)
    image = scm.mechanisms["image"]
    temperature = way if isinstance(way, float) else 0.0
    if isinstance(image, HasPixelTemperature):
        image.pixel_temperature = temperature
    entry = way if isinstance(way, AnswerEntry) else AnswerEntry()
    model = Answering(scm.graph, scm.mechanisms.values(), residual=entry.residual, local=entry.local)
    told = max(temperature, entry.residual)
    return replace(contestant, model=model.eval(), pixel_temperature=told, weights_sha256=None)


def measured(dataset: str, names: Sequence[str], known: dict[str, Any]) -> dict[str, Any]:
    """Model -> way -> intervention -> numbers; what is known is not measured again."""
    loaded = datasets.load(dataset, SOURCES[dataset])
    exam = evaluation.prepare(
        loaded, "standard", limit=IMAGES, metrics=["truth", "effectiveness", "composition", "reversibility"]
    )
    found: dict[str, Any] = {}
    for name in names:
        found[name] = {}
        for way, entry in WAYS.items():
            if way in known.get(name, {}):
                found[name][way] = known[name][way]
                continue
            if isinstance(entry, float) and entry and name not in ("vae", "hvae"):
                continue  # no pixel noise
            record = evaluation.evaluate(asked_so(models.load(name, loaded), entry), exam).record
            found[name][way] = _numbers(record)
            print(dataset, name, way, file=sys.stderr)
    return found


def _numbers(record: Any) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for number in record.numbers:
        word = QUANTITIES.get((number.metric, number.quantity))
        if word and (word != "effectiveness" or number.measured == number.intervened) and number.cycles in (0, 1):
            table.setdefault(number.intervened, {})[word] = [
                None if value is None else round(value, 3) for value in (number.value, number.low, number.high)
            ]
    return table


def main(wanted: Sequence[str]) -> None:
    """Measure, one dataset after the other; what is known of others stays."""
    for dataset in wanted or SOURCES:
        known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        names = [
            name
            for name in models.names(dataset)
            if name in MODELS and SOURCES[dataset] in models.find_recipe(name, datasets.card(dataset))[0].weights
        ]
        known[dataset] = measured(dataset, names, known.get(dataset, {}))
        write_text(RESULT, json.dumps({name: known[name] for name in SOURCES if name in known}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
