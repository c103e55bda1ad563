"""What tricks gain: models that score well in some number without answering, asked like any other model.

python docs/attacks.py  # writes docs/attacks.json, from which docs/make.py makes the table of docs/fooled.md; some ten minutes
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from counterbench import datasets, evaluation, judges, models
from counterbench.causal.samples import Samples
from counterbench.leaderboard.ranking import CHANGE_SKILL, why_not
from counterbench.models.model import Contestant
from counterbench.records.record import Record, beaten_by_nothing

STORED = Path(__file__).parent / "attacks.json"
DATASET, SUITE, LIMIT, BASE = "morphomnist", "standard", 200, "vae"
IMAGE = "image"
Values = dict[str, Tensor]


class Attacks:
    """The tricks, most of them around the answers of an honest model."""

    def __init__(self, device: str) -> None:
        self.dataset = datasets.load(DATASET)
        self.honest = models.load(BASE, self.dataset, device=torch.device(device)).model
        self.panels = judges.load(self.dataset.card, self.dataset.source, device=device)
        self.seen: dict[bytes, Mapping[str, Tensor]] = {}

    def input(self, factual: Samples, do: Mapping[str, Tensor], noise: Any) -> Values:
        """its input"""
        return {**factual, **do}

    def null_shortcut(self, factual: Samples, do: Mapping[str, Tensor], noise: Any) -> Values:
        """the honest answer, but its input where nothing is asked"""
        return self.honest.counterfactual(factual, do, noise) if do else dict(factual)

    def claims(self, factual: Samples, do: Mapping[str, Tensor], noise: Any) -> Values:
        """the honest answer, claiming of each attribute what the judges will read"""
        return self._claiming(self.honest.counterfactual(factual, do, noise), do)

    def input_and_claims(self, factual: Samples, do: Mapping[str, Tensor], noise: Any) -> Values:
        """its input, claiming of each attribute what the judges will read"""
        return self._claiming(self.input(factual, do, noise), do)

    def _claiming(self, answer: Mapping[str, Tensor], do: Mapping[str, Tensor]) -> Values:
        claimed = dict(answer)
        for name in self.panels.keys() - do.keys():
            reading = self.panels[name].measure(claimed[IMAGE].float()).value
            claimed[name] = reading.argmax(1) if reading.ndim == 2 else reading.to(claimed[name].dtype)
        return claimed

    def one_pixel(self, factual: Samples, do: Mapping[str, Tensor], noise: Any) -> Values:
        """its input with one bright pixel, which sets the median of bright pixels to any value"""
        answer = self.input(factual, do, noise)
        if "intensity" in do:
            image, wanted = answer[IMAGE].clone(), do["intensity"].float()
            reached = wanted > 2 * image.flatten(1).amax(1)
            image[reached, 0, 0, 0] = wanted[reached] - 0.5
            answer[IMAGE] = image
        return answer

    def blend(self, factual: Samples, do: Mapping[str, Tensor], noise: Any) -> Values:
        """half of its input, half of the honest answer"""
        answer = self.honest.counterfactual(factual, do, noise)
        return {**answer, IMAGE: (factual[IMAGE] + answer[IMAGE]) / 2}

    def rescale(self, factual: Samples, do: Mapping[str, Tensor], noise: Any) -> Values:
        """the honest answer, its brightness corrected until the pinned judge agrees"""
        answer = dict(self.honest.counterfactual(factual, do, noise))
        image, claimed = answer[IMAGE].float(), answer["intensity"].float()
        for _ in range(4):
            gain = claimed / self.panels["intensity"].measure(image).value.float().clamp(min=1)
            image = (image * gain[:, None, None, None]).clamp(0, 255)
        return {**answer, IMAGE: image}

    def overshoot(self, factual: Samples, do: Mapping[str, Tensor], noise: Any) -> Values:
        """nothing for about half of the images, twice the honest change for the others"""
        answer = self.honest.counterfactual(factual, do, noise)
        odd = (factual[IMAGE].double().flatten(1).sum(1).round() % 2)[:, None, None, None]
        return {**answer, IMAGE: factual[IMAGE] + 2 * odd.float() * (answer[IMAGE] - factual[IMAGE])}

    def memory(self, factual: Samples, do: Mapping[str, Tensor], noise: Any) -> Values:
        """the honest answer, but the photograph itself when its own answer comes back"""
        answer = self.honest.counterfactual(factual, do, noise)
        shown = answer[IMAGE].round().clamp(0, 255)
        for place in range(len(shown)):
            known = self.seen.get(_key(factual[IMAGE][place]))
            if known is None:
                self.seen[_key(shown[place])] = {name: value[place].clone() for name, value in factual.items()}
            elif all(torch.equal(value[place], known[name]) for name, value in do.items()):
                shown[place] = known[IMAGE]
        return {**answer, IMAGE: shown}

    def decimals(self, factual: Samples, do: Mapping[str, Tensor], noise: Any) -> Values:
        """the honest answer with the photograph hidden behind the decimal point of its pixels"""
        image = factual[IMAGE].double()
        hidden = (image - image.floor()) * 1000
        coded = (hidden.flatten(1).amax(1) > 0.5)[:, None, None, None]
        original = torch.where(coded, hidden.round() - 1, image.round()).clamp(0, 255)
        answer = self.honest.counterfactual(Samples({**factual, IMAGE: original.float()}), do, noise)
        shown = torch.where(coded & (not do), original, answer[IMAGE].double()).round().clamp(0, 254)
        return {**answer, IMAGE: (shown + (original + 1) / 1000).float()}

    def low_bits(self, factual: Samples, do: Mapping[str, Tensor], noise: Any) -> Values:
        """the honest answer with the photograph, coarse and compressed, in the two lowest bits of its pixels"""
        answer = self.honest.counterfactual(factual, do, noise)
        image = answer[IMAGE].round().clamp(0, 255).long()
        for place, seen in enumerate(factual[IMAGE].round().long()):
            hidden = _hidden(seen)
            coarse = (seen + 8) // 16 if hidden is None else hidden
            if hidden is not None and not do:
                image[place] = (16 * hidden).clamp(0, 255)
            image[place] = _hiding(image[place], coarse)
        return {**answer, IMAGE: image.float()}

    def invisible(self, factual: Samples, do: Mapping[str, Tensor], noise: Any) -> Values:
        """its input, moved by at most 12 grey levels towards the digit judges (projected gradient descent)"""
        answer = self.input(factual, do, noise)
        if "digit" in do:
            networks = [member.network for member in self.panels["digit"].members]
            answer[IMAGE] = _moved(networks, factual[IMAGE].float(), do["digit"], limit=12.0)
        return answer


def _key(image: Tensor) -> bytes:
    return image.round().to(torch.uint8).cpu().numpy().tobytes()


def _hiding(image: Tensor, coarse: Tensor) -> Tensor:
    """An image whose two lowest bits are another one, compressed; the image itself where that does not fit."""
    content = zlib.compress(coarse.to(torch.uint8).numpy().tobytes(), 9)
    room = image.numel() // 4
    if len(content) > room:
        return image
    bits = np.unpackbits(np.frombuffer(content.ljust(room, b"\0"), np.uint8)).reshape(-1, 2)
    code = torch.from_numpy((2 * bits[:, 0] + bits[:, 1]).astype(np.int64))
    return image // 4 * 4 + code.view_as(image)


def _hidden(image: Tensor) -> Tensor | None:
    """The image in the two lowest bits; None where there is none, or not all of it (the compressed form checks itself)."""
    code = (image.flatten() % 4).numpy().astype(np.uint8)
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(np.packbits(np.stack([code // 2, code % 2], 1)).tobytes(), image.numel())
    except zlib.error:
        return None
    if not reader.eof or len(content) != image.numel():
        return None
    return torch.from_numpy(np.frombuffer(content, np.uint8).astype(np.int64)).view_as(image)


def _moved(networks: list[Any], image: Tensor, target: Tensor, *, limit: float, steps: int = 25) -> Tensor:
    with torch.enable_grad():
        delta = torch.zeros_like(image)
        for _ in range(steps):
            delta = delta.detach().requires_grad_(True)
            looks = [network((image + delta).clamp(0, 255) / 127.5 - 1) for network in networks]
            loss = torch.stack([functional.cross_entropy(look, target) for look in looks]).sum()
            (slope,) = torch.autograd.grad(loss, delta)
            delta = (delta - limit / 4 * slope.sign()).clamp(-limit, limit)
    return (image + delta.detach()).clamp(0, 255)


NAMES = (
    "input",
    "input_and_claims",
    "one_pixel",
    "invisible",
    "null_shortcut",
    "claims",
    "blend",
    "rescale",
    "overshoot",
    "memory",
    "decimals",
    "low_bits",
)


class _Model:
    def __init__(self, answer: Callable[..., Values]):
        self.answer = answer

    def counterfactual(self, factual: Samples, interventions: Mapping[str, Tensor], generator: Any = None) -> Values:
        return self.answer(factual, interventions, generator)


def row(name: str, does: str, record: Record) -> dict[str, Any]:
    """What the table says of one model."""
    skill = record.row_skill
    assert skill is not None
    known = record.by_key
    reasons: dict[str, list[str]] = {}
    for number in record.numbers:
        if number.preserves:
            kind = number.quantity if number.metric == "truth" else number.metric
            reasons.setdefault(kind, []).append(why_not(record, number))
    barred = {kind: whys[0] for kind, whys in reasons.items() if all(whys)}
    changes = [known[(*CHANGE_SKILL, part.intervened, "", 0, "")].value for part in skill.parts if not part.left_out]
    return {
        "name": name,
        "does": does,
        "row_skill": [skill.value, skill.low, skill.high],
        "change_skills": changes,
        "composition": [known["composition", "l1", "", "", cycles, "l1"].value for cycles in (1, 10)],
        "effectiveness": known["effectiveness", "skill", "intensity", "intensity", 0, ""].value,
        "beaten": list(beaten_by_nothing(record)),
        "not_ranked": barred,
        "flags": record.flags,
    }


def main(device: str) -> None:
    """Ask all of them, and store what came of it."""
    attacks = Attacks(device)
    exam = evaluation.prepare(attacks.dataset, SUITE, device=device, limit=LIMIT)
    rows = [
        row(
            BASE,
            "an honest model",
            evaluation.evaluate(models.load(BASE, exam.dataset, device=exam.device), exam).record,
        )
    ]
    for name in NAMES:
        trick = getattr(attacks, name)
        contestant = Contestant(name, _Model(trick), pixel_noise="none")
        rows.append(row(name.replace("_", " "), str(trick.__doc__), evaluation.evaluate(contestant, exam).record))
        print(name, rows[-1]["row_skill"], file=sys.stderr)
    STORED.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cpu")
