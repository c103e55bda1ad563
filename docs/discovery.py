"""What methods of discovery find on random causal models and on the datasets' attributes.

    python docs/discovery.py  # some minutes; writes docs/discovery.json

Methods of libraries are left out where the extra `discovery` is not installed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from counterbench import datasets
from counterbench.discovery import Observations, discover
from counterbench.discovery.comparison import order_errors
from counterbench.discovery.table import of_dataset
from counterbench.discovery.trying import graph_of
from counterbench.plugins import registry
from counterbench.processes.scms import RandomSCM
from counterbench.storage.files import write_text

RESULT = Path(__file__).with_suffix(".json")
SEEDS = range(5)
MODELS = {
    "additive noise, 5 variables, 5 arrows": ("anm", 5, 5, 600),
    "additive noise, 10 variables, 40 arrows": ("anm", 10, 40, 1000),
    "additive noise, 10 variables, 20 arrows": ("anm", 10, 20, 1000),
    "post-nonlinear, 5 variables, 5 arrows": ("pnl", 5, 5, 600),
    "linear Gaussian, 10 variables, 40 arrows": ("linear", 10, 40, 1000),
}
METHODS = {
    "random": {},
    "var_sort": {},
    "r2_sort": {},
    "score": {},
    "score, published criterion": {"relative": False},
    "diffan": {},
    "pc": {},
    "ges": {},
    "lingam": {},
    "notears": {},
}
COUNTS = ("hamming", "intervention")
"""Figures that are counts; the others are shares."""
REAL = (("morphomnist", "digits"), ("adni", "template"))


def sampled(kind: Any, nodes: int, edges: int, *, count: int, seed: int) -> Observations:
    """Standardised samples of a random model, with its graph."""
    scm = RandomSCM(kind, nodes, edges, seed)
    drawn = scm.values(scm.draw_noise(count, np.random.default_rng([seed, 1])))
    values = np.stack(list(drawn.values()), 1)
    table = Observations(dict.fromkeys(scm.names, "continuous"), (values - values.mean(0)) / values.std(0))
    return Observations(table.kinds, table.values, graph_of(scm.adjacency, table))


def tried(method: str, options: Mapping[str, Any], table: Observations, seed: int) -> dict[str, float]:
    """Figures of one run."""
    begun = time.perf_counter()
    discovery = discover(method, table, seed=seed, options=dict(options))
    scores = {name: value for name, value in discovery.comparison().items() if value == value}
    return {**scores, "seconds": time.perf_counter() - begun}


def random_models() -> dict[str, Any]:
    """Model -> method -> figures of every seed."""
    found: dict[str, Any] = {}
    for title, (kind, nodes, edges, count) in MODELS.items():
        for name, options in METHODS.items():
            method = name.partition(",")[0]
            if registry.discoverers.lacks(method):
                continue
            tables = [sampled(kind, nodes, edges, count=count, seed=seed) for seed in SEEDS]
            found.setdefault(title, {})[name] = [
                tried(method, options, table, seed) for seed, table in zip(SEEDS, tables, strict=True)
            ]
            print(title, name, flush=True)
    return found


def real_attributes(runs: int = 10, count: int = 1000) -> dict[str, Any]:
    """Dataset -> method -> share of known arrows that point backwards, on different samples."""
    found: dict[str, Any] = {}
    for dataset, source in REAL:
        whole = of_dataset(datasets.load(dataset, source))
        table = whole.only([name for name, kind in whole.kinds.items() if kind == "continuous"])
        for method in ("random", "var_sort", "r2_sort", "score", "diffan"):
            errors = []
            for seed in range(runs):
                rows = table.first(count, np.random.default_rng([seed]))
                discovery = discover(method, rows, seed=seed)
                assert discovery.truth is not None
                assert discovery.found.order is not None
                errors.append(order_errors(discovery.found.order, discovery.truth))
            found.setdefault(f"{dataset}/{source}", {})[method] = errors
    return found


def shown(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows."""
    return {
        "models": list(_model_tables(stored["models"])),
        "real": list(_real_rows(stored["real"])),
        "seconds": stored["seconds"],
    }


def _model_tables(stored: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for title in MODELS:
        rows = [
            {
                "method": method,
                **{
                    name: _in_words([run[name] for run in runs if name in run], whole=name in COUNTS)
                    for name in ("order_errors", "hamming", "intervention", "precision", "recall")
                },
            }
            for method, runs in stored[title].items()
        ]
        yield {"title": title, "rows": rows}


def _in_words(values: list[float], *, whole: bool) -> str:
    """Mean and a 95 % interval of it, from the seeds' spread (Student's t of 4 degrees); of counts, or of shares, which end at 1."""
    if len(values) < len(SEEDS):
        return "-"
    middle, half = mean(values), 2.776 * stdev(values) / len(values) ** 0.5
    high = middle + half if whole else min(1.0, middle + half)
    return f"{middle:.2f} [{max(0.0, middle - half):.2f}, {high:.2f}]"


def _real_rows(stored: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for dataset, methods in stored.items():
        for method, errors in methods.items():
            right = sum(error == 0 for error in errors)
            yield {
                "dataset": dataset,
                "method": method,
                "right": f"{right} of {len(errors)}",
                "errors": f"{mean(errors):.2f}",
            }


def main() -> None:
    """Make everything again."""
    begun = time.perf_counter()
    discover("score", sampled("anm", 10, 20, count=2000, seed=0), resamples=20)
    seconds = round(time.perf_counter() - begun, 1)
    stored = {"seconds": seconds, "models": random_models(), "real": real_attributes()}
    write_text(RESULT, json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
