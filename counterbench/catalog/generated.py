"""Datasets that are made from their name: `scm-KIND-N-ARROWS-SEED`, random causal models without images."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from counterbench.catalog.cards import Card
from counterbench.catalog.names import require_name

if TYPE_CHECKING:
    from counterbench.processes.scms import RandomSCM

FAMILY = "scm"
READER = "random_scm"
PATTERN = f"{FAMILY}-KIND-N-ARROWS-SEED"
"""How these names look, in words."""
SIZES = {"train": 10_000, "validation": 2_000, "judge": 2_000, "test": 2_000}
_NAME = re.compile(rf"{FAMILY}-([a-z]+)-([1-9][0-9]{{0,2}})-(0|[1-9][0-9]{{0,3}})-(0|[1-9][0-9]{{0,8}})")
_LOOKED_AT, _RANGE = 4096, (0.001, 0.999)
_MECHANISMS = {
    "linear": "Every variable is a weighted sum of its causes and Gaussian noise.",
    "anm": "Every variable is a random smooth function of its causes and additive Gaussian noise.",
    "pnl": "Every variable is a random smooth function of its causes and Gaussian noise, bent by an invertible curve.",
    "discrete": "Every variable is one of three classes, drawn from a random table by the classes of its causes.",
}

_LIMITS = (
    (
        "Quantities lie around 0, so an error in per cent of them says little; read the truth.",
        "Under a hidden cause the true counterfactual hangs on it, and nobody can infer it from what is observed; no model reaches 1 there.",
    ),
    (
        "The same probabilities of classes fit many couplings of what happens and what would have happened. The truth here is the smallest "
        "class whose cumulative probability exceeds a uniform number; a model that infers Gumbel noise answers by another one, and nothing "
        "observed tells which is right.",
    ),
)


def is_generated(name: str) -> bool:
    """Whether a name stands for such a dataset; nothing is made of it.

    Examples:
        >>> is_generated("scm-anm-5-8-0"), is_generated("morphomnist")
        (True, False)
    """
    return _NAME.fullmatch(name) is not None


def generated(name: str) -> Card | None:
    """The card that a name stands for; None for a name that is no such one.

    Args:
        name: such as `scm-anm-5-8-0`: additive noise, 5 variables, 8 arrows on average, seed 0.

    Raises:
        ConfigError: for a model that there is not, such as one of a single variable or of an unknown kind.

    Examples:
        >>> generated("scm-linear-3-2-0").attributes, generated("morphomnist")
        (('x1', 'x2', 'x3'), None)
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    kind, nodes, edges, seed = found[1], *map(int, found.groups()[1:])
    options = {"kind": kind, "nodes": nodes, "edges": edges, "seed": seed}
    return Card.model_validate(_content(require_name(name), options))


def _content(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """A card as it would stand in a file."""
    from counterbench.processes.scms import RandomSCM  # brings numpy, which whoever lists names can do without

    confounded = RandomSCM(**options, hidden=1)
    hidden = {
        f"hidden{number + 1}": [confounded.names[end] for end in ends]
        for number, ends in enumerate(confounded.confounded)
    }
    described = {"licence": "MIT (made by this package)", "embedded": True, "sizes": SIZES}
    return {
        "name": name,
        "title": f"Random {options['kind']} model of {options['nodes']} variables",
        "description": f"No images: numbers from a random graph, ordered at random, and random mechanisms. {_MECHANISMS[options['kind']]} "
        "For mechanisms of attributes and for discovery.",
        "reader": READER,
        "variables": _variables(confounded),
        "default_source": "formula",
        "sources": {
            "formula": {
                **described,
                "options": options,
                "description": "Everything that causes two variables is one of them.",
            },
            "confounded": {
                **described,
                "options": {**options, "hidden": 1},
                "hidden": hidden,
                "description": "The same graph and mechanisms, and one common cause of two variables that nobody observes.",
            },
        },
        "truth": "Every intervention has its true counterfactual: the noise of every sample is known, and so is a hidden cause.",
        "limits": _LIMITS[options["kind"] == "discrete"],
    }


def _variables(scm: RandomSCM) -> dict[str, Any]:
    """Kinds, ranges and causes; ranges leave out 1 in 500 samples."""
    import numpy as np

    from counterbench.processes.scms import CLASSES

    looked_at = scm.values(scm.draw_noise(_LOOKED_AT, np.random.default_rng(0)))
    listed: dict[str, Any] = {}
    for node, name in enumerate(scm.names):
        parents = [scm.names[parent] for parent in scm.parents(node)]
        if scm.kind == "discrete":
            listed[name] = {
                "kind": "categorical",
                "classes": [str(number) for number in range(CLASSES)],
                "parents": parents,
            }
            continue
        low, high = np.quantile(looked_at[name], _RANGE)
        listed[name] = {"kind": "continuous", "range": [_outward(low, -1), _outward(high, 1)], "parents": parents}
    return listed


def _outward(value: float, sign: int) -> float:
    """To a tenth, away from the middle."""
    return sign * math.ceil(10 * sign * float(value)) / 10
