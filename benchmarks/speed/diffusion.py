"""Answers of flow matching and diffusion against a literal loop of DDIM, in one run, on this machine.

    python benchmarks/speed/diffusion.py [--images 100]

The literal loop is that of the first diffusion SCMs (Sanchez & Tsaftaris, CLeaR 2022): 100 deterministic steps from the photograph to noise under its
own parents, 100 steps back under the new ones, nothing kept of what they miss. It uses the shipped weights of `diffusion` for digits, so
that networks are equally large. Printed for it and for both shipped models as they answer: milliseconds for one image and intervention (abduction
included), evaluations of the network, grey levels from the true counterfactual, and from the photograph after a null intervention.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from counterbench import datasets, models
from counterbench.mechanisms.generative_ode import GenerativeODE
from counterbench.metrics.answers import l1

STEPS = 100
BATCH = 50
START = 0.01
"""Time at which the loop stops: nearly no signal is left."""


def moved(mechanism: GenerativeODE, state: Tensor, parents: dict[str, Tensor], times: list[float]) -> Tensor:
    """DDIM from the first time to the last: the noise is predicted, the image follows from it, both are mixed for the next time."""
    for now, then in pairwise(times):
        at = torch.full((len(state),), now)
        noise = mechanism.predicted_noise(state, at, parents)
        before, after = (mechanism.path.weights(torch.tensor(t)) for t in (now, then))
        value = (state - before.noise * noise) / before.signal
        state = after.signal * value + after.noise * noise
    return state


def literal(mechanism: GenerativeODE, value: Tensor, parents: Any, wanted: Any) -> Tensor:
    """The counterfactual of an encoded image, by 100 steps each way."""
    forth = [START + (1 - 1e-3 - START) * step / STEPS for step in range(STEPS + 1)]
    noise = moved(mechanism, value, parents, forth[::-1])
    return moved(mechanism, noise, wanted, forth).clamp(-1, 1)


def ours(mechanism: GenerativeODE, value: Tensor, parents: Any, wanted: Any) -> Tensor:
    """Abduction and prediction of the mechanism."""
    return mechanism.generate(mechanism.abduct(value, parents), wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    count = parser.parse_args().images
    dataset = datasets.load("morphomnist", "digits")
    rows, variables = torch.arange(count), dataset.variables
    factual, image = dataset.split("test").take(rows), variables["image"]
    other = rows.flip(0)
    questions = {name: dataset.truth("test", rows, {name: factual[name][other]}) for name in ("thickness", "intensity")}
    fields: dict[str, Any] = {
        name: models.load(name, dataset).model.mechanisms["image"]  # type: ignore[attr-defined]
        for name in ("diffusion", "flow-matching")
    }
    ways: dict[str, tuple[GenerativeODE, Callable[..., Tensor]]] = {
        f"DDIM, {STEPS} + {STEPS} steps": (fields["diffusion"], literal),
        "diffusion": (fields["diffusion"], ours),
        "flow-matching": (fields["flow-matching"], ours),
    }
    cost: dict[str, float] = {}
    for name, (field, answer) in ways.items():
        parents = [part.name for part in field.parents]

        def encoded(values: Any, at: Tensor, parents: list[str] = parents) -> dict[str, Tensor]:
            return {parent: variables[parent].encode(values[parent][at]) for parent in parents}

        errors, seconds = {}, 0.0
        for question, truth in {**questions, "nothing": factual}.items():
            found = []
            for at in rows.split(BATCH):
                value = image.encode(factual["image"][at])
                begun = time.perf_counter()
                with torch.no_grad():
                    found.append(image.decode(answer(field, value, encoded(factual, at), encoded(truth, at))))
                seconds += (time.perf_counter() - begun) * (question != "nothing")
            errors[question] = float(l1(torch.cat(found).round().clamp(0, 255), truth["image"]).mean())
        cost[name] = 1e3 * seconds / (len(questions) * count)
        evaluations = 2 * STEPS if answer is literal else sum(field.solver.evaluations)
        told = ", ".join(f"do({question}) {error:.2f}" for question, error in errors.items())
        print(f"{name:20} {cost[name]:7.1f} ms an answer, {evaluations:3d} evaluations; grey levels off: {told}")
    first, *rest = cost
    print("; ".join(f"{name}: {cost[first] / cost[name]:.0f} times as fast as {first}" for name in rest))


if __name__ == "__main__":
    main()
