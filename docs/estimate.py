"""How well the order by the estimate follows the order by the truth, on every rendered source of images.

python docs/estimate.py [DATASET ...]  # writes benchmarks/estimate.json, which boards and docs/estimate.md quote; some twenty minutes for all four

Honest models, the same with their change put on the photograph, baselines, and mixtures are asked like any model. The truth scores them,
and the estimate does that never looks at the truth; Kendall's tau compares the two orders, over the interventions that have both.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor

from counterbench import datasets, evaluation, models
from counterbench.causal.samples import Samples
from counterbench.evaluation.session import examine
from counterbench.evaluation.taking import Taking
from counterbench.models import baselines
from counterbench.models.answering import above, neighbourhood
from counterbench.models.model import Contestant
from counterbench.records.row_skill import LEAST_CHANGE, bounded
from counterbench.storage.files import write_text

RESULT = Path(__file__).parents[1] / "benchmarks" / "estimate.json"
SOURCES = {
    "morphomnist": ("digits", 300),
    "adni": ("phantom", 200),
    "celeba-simple": ("portraits", 100),
    "celeba-complex": ("portraits", 100),
}
"""Dataset -> its rendered source, and how many test images are asked about."""
LEARNED = ("vae", "hvae", "gan")
PLAIN = ("identity", "noise", "retrieve", "resample")
IMAGE, LOCAL_LEVELS, RESAMPLES = "image", 8.0, 1000
Values = dict[str, Tensor]
Answering = Callable[[Samples, Mapping[str, Tensor], Any], Values]


class Rows:
    """The rows that are compared: what each of them answers."""

    def __init__(self, dataset: Any, device: str) -> None:
        self.dataset, self.device = dataset, torch.device(device)
        plain = {name: baselines.BASELINES[name](dataset).counterfactual for name in PLAIN}
        learned = {name: self._learned(name) for name in LEARNED}
        identity = plain["identity"]
        self.exact = {f"{name} + levels": on_photograph(ask, lambda change: change) for name, ask in learned.items()}
        self.exact |= {f"{name} + local": on_photograph(ask, local) for name, ask in learned.items()}
        mixed = {
            f"{name}, or the input": by_row(identity, ask)
            for name, ask in {**plain, **learned}.items()
            if name in ("resample", "retrieve", "hvae")
        }
        self.rows = {**learned, **self.exact, **plain, **mixed, "half hvae": blended(learned["hvae"])}
        asked = {**learned, **{name: plain[name] for name in ("retrieve", "resample")}}
        self.shortcuts = {f"{name}, null = input": null_is_input(ask) for name, ask in asked.items()}

    def _learned(self, name: str) -> Answering:
        model = models.load(name, self.dataset, device=self.device).model

        def ask(given: Samples, held: Mapping[str, Tensor], noise: Any) -> Values:
            return dict(model.counterfactual(given, held, noise))

        return ask


def local(change: Tensor) -> Tensor:
    """The change where its neighbourhood moves by more than a few grey levels."""
    return above(change, neighbourhood(change), LOCAL_LEVELS)


def on_photograph(ask: Answering, kept: Callable[[Tensor], Tensor]) -> Answering:
    """The model's change, from its own null answer, put on the photograph."""

    def answer(given: Samples, held: Mapping[str, Tensor], noise: Any) -> Values:
        answered = ask(given, held, noise)
        if not held:
            return {**answered, IMAGE: given[IMAGE]}
        change = answered[IMAGE].float() - ask(given, {}, noise)[IMAGE].float()
        return {**answered, IMAGE: given[IMAGE].float() + kept(change)}

    return answer


def by_row(first: Answering, second: Answering) -> Answering:
    """One answer for about half of the individuals, the other for the rest; a photograph is told by its pixels."""

    def answer(given: Samples, held: Mapping[str, Tensor], noise: Any) -> Values:
        one, other = first(given, held, noise), second(given, held, noise)
        even = given.index % 2 == 0
        return {
            name: torch.where(even.view(-1, *[1] * (value.ndim - 1)), one[name].to(value.dtype), value)
            for name, value in other.items()
        }

    return answer


def blended(ask: Answering) -> Answering:
    """Half of the input, half of the answer."""

    def answer(given: Samples, held: Mapping[str, Tensor], noise: Any) -> Values:
        answered = ask(given, held, noise)
        return {**answered, IMAGE: (given[IMAGE].float() + answered[IMAGE].float()) / 2}

    return answer


def null_is_input(ask: Answering) -> Answering:
    """The model's answers, but its input where nothing is asked."""
    return lambda given, held, noise: ask(given, held, noise) if held else dict(given)


class Asked:
    """A row as a model."""

    __module__ = "counterbench.estimate"  # what it wraps are baselines of the package, which are told the rows
    needs_rows = True

    def __init__(self, answer: Answering):
        self.answer = answer

    def counterfactual(self, factual: Samples, interventions: Mapping[str, Tensor], generator: Any = None) -> Values:
        return self.answer(factual, interventions, generator)


Sums = dict[str, dict[str, np.ndarray]]
"""Intervention -> what is summed over the images of one cluster, (G,) each."""


def sums_of(exam: Any, name: str, answer: Answering) -> Sums:
    """Everything that both skills are made of."""
    contestant = Contestant(name, Asked(answer), pixel_noise="none")
    taking = Taking(name, contestant, exam.make_metrics(contestant), None, name)
    with torch.no_grad():
        examine(exam, [taking])
    groups, code = exam.dataset.split(evaluation.SPLIT).group[exam.plan.index].unique(return_inverse=True)
    place = {int(row): int(code[at]) for at, row in enumerate(exam.plan.index)}
    found: Sums = {}
    for column in taking.columns():
        cell = column.cell
        cluster = [place[int(row)] for row in column.index]

        def summed(values: Tensor, cluster: list[int] = cluster) -> np.ndarray:
            return np.bincount(cluster, values.double().numpy(), len(groups))

        mine = found.setdefault(cell.intervened_in_words, {"count": np.bincount(code, minlength=len(groups))})
        if cell.quantity == "truth_skill":
            mine |= {"far": summed(column.value), "nothing": summed(column.reference)}
        elif cell.quantity in ("loss_of_null", "loss_there_and_back"):
            mine[cell.quantity] = summed(column.value)
        elif cell.quantity == "recognised_error":
            mine[f"error/{cell.measured}"] = summed(column.value)
            mine[f"due/{cell.measured}"] = summed(column.reference)
    return {cause: part for cause, part in found.items() if "far" in part and "loss_of_null" in part}


def by_truth(sums: Sums, weight: np.ndarray, names: Sequence[str]) -> float:
    """The row skill by truth, with clusters that count so often."""
    ratios = [weight @ sums[name]["far"] / (weight @ sums[name]["nothing"]) for name in names]
    return float(bounded(np.array(ratios)).mean())


def by_estimate(
    sums: Sums, weight: np.ndarray, names: Sequence[str], change: Mapping[str, float], *, returns: bool = True
) -> float:
    """The same by estimate; `returns` whether the loss of going there and back counts."""
    ratios = []
    for name in names:
        part = sums[name]
        missed = [weight @ part[key] / (weight @ part[f"due/{key[6:]}"]) for key in part if key.startswith("error/")]
        kinds = ("loss_of_null", "loss_there_and_back") if returns else ("loss_of_null",)
        loss = max(weight @ part[kind] / (weight @ part["count"]) for kind in kinds)
        ratios.append(np.mean(missed) + loss / change[name])
    return float(bounded(np.array(ratios)).mean())


def tau_between(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-b."""
    return float(kendalltau(first, second)[0])


class Agreement:
    """Two orders of the same rows.

    Args:
        rows: row -> its sums.
        names: interventions that have both skills.
        change: intervention -> the typical change of the card.
    """

    def __init__(self, rows: Mapping[str, Sums], names: Sequence[str], change: Mapping[str, float]):
        self.rows, self.names, self.change = rows, names, change
        self.clusters = len(next(iter(rows.values()))[names[0]]["count"])

    def tau(self, weight: np.ndarray | None = None, *, scale: float = 1.0, returns: bool = True) -> float:
        """Of the two orders, with the scale of the estimate multiplied."""
        weight = np.ones(self.clusters) if weight is None else weight
        change = {name: scale * value for name, value in self.change.items()}
        return tau_between(
            [by_truth(sums, weight, self.names) for sums in self.rows.values()],
            [by_estimate(sums, weight, self.names, change, returns=returns) for sums in self.rows.values()],
        )

    def interval(self) -> list[float]:
        """tau, and its 95 % interval by resampling individuals."""
        rng = np.random.default_rng(0)
        drawn = [
            self.tau(rng.multinomial(self.clusters, np.full(self.clusters, 1 / self.clusters)))
            for _ in range(RESAMPLES)
        ]
        low, high = np.quantile(drawn, [0.025, 0.975])
        return [round(float(value), 3) for value in (self.tau(), low, high)]


def measured(dataset: str, device: str) -> dict[str, Any]:
    """The two orders of one dataset, and how far they agree."""
    source, images = SOURCES[dataset]
    loaded = datasets.load(dataset, source)
    exam = evaluation.prepare(loaded, "standard", device=device, limit=images, metrics=["truth", "estimate"])
    contestants = Rows(loaded, device)
    found: dict[str, Sums] = {}
    for name, answer in {**contestants.rows, **contestants.shortcuts}.items():
        found[name] = sums_of(exam, name, answer)
        print(dataset, name, file=sys.stderr)
    first = next(iter(found.values()))
    names = [name for name, part in first.items() if part["nothing"].sum() / part["count"].sum() >= LEAST_CHANGE]
    change = loaded.card.typical_change[source]
    rows = {name: found[name] for name in contestants.rows}
    every = Agreement(rows, names, change)
    weight = np.ones(every.clusters)
    return {
        "source": source,
        "images": images,
        "interventions": names,
        "rows": {
            name: [round(by_truth(sums, weight, names), 3), round(by_estimate(sums, weight, names, change), 3)]
            for name, sums in found.items()
        },
        "tau": every.interval(),
        "exact": Agreement({name: found[name] for name in contestants.exact}, names, change).interval(),
        "half": round(every.tau(scale=0.5), 3),
        "double": round(every.tau(scale=2.0), 3),
        "null_loss_only": round(every.tau(returns=False), 3),
        "with_shortcuts": round(Agreement(found, names, change).tau(), 3),
    }


def main(wanted: Sequence[str], device: str = "cpu") -> None:
    """Measure, one dataset after the other; what is known of others stays."""
    for dataset in wanted or SOURCES:
        known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        known[dataset] = measured(dataset, device)
        ordered = {name: known[name] for name in SOURCES if name in known}
        write_text(RESULT, json.dumps(ordered, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
