"""Every metric against its re-computation, which shares nothing with the package but the definitions in words."""

import ast
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asked
import pytest
import torch
from metrics import (  # tests/metrics, a folder beside tests/asked.py
    answered,
    recomputed,
    recomputed_judges,
    recomputed_maps,
    recomputed_sets,
)

from counterbench.causal.graph import CausalGraph
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Categorical, Continuous
from counterbench.metrics.answers import Answers, Batch, NoiseSample
from counterbench.metrics.base import Setting
from counterbench.plans.question import Question
from counterbench.plugins import registry

RUNS = {
    "grainy": lambda: answered.of_toy(answered.grainy),
    "timid": lambda: answered.of_toy(answered.timid),
    "bold": lambda: answered.of_toy(answered.bold),
    "a unseen": answered.of_unseen,
    "panels": lambda: answered.of_panels(0),
    "other panels": lambda: answered.of_panels(1),
    "table": lambda: answered.of_table(0),
    "other table": lambda: answered.of_table(1),
    "all of a table set": lambda: answered.of_table(2, intervenable=("x", "y", "z")),
}
TOY = ("grainy", "timid", "bold")
TABLES = ("table", "other table", "all of a table set")


@dataclass(frozen=True)
class Case:
    """What of a metric is computed twice: on which runs, with which options of the metric and of its re-computation."""

    again: Callable
    runs: Sequence[str] = TOY
    options: Mapping = field(default_factory=dict)
    known: Mapping = field(default_factory=dict)
    without: Sequence[str] = ()
    absolute: float = 1e-9


SPACES = Case(None, options={"distances": ["l1", "posterior", "pixel"]}, known={"spaces": ["posterior", "pixel"]})
# Frechet distances: features of rank below their size, whose vanishing eigenvalues the package rounds to 1e-16 and then takes the root of.
ROOTS = 1e-7
CASES = {
    "composition": [Case(recomputed.composition, options=SPACES.options, known=SPACES.known)],
    "reversibility": [Case(recomputed.reversibility, options=SPACES.options, known=SPACES.known)],
    "commutativity": [Case(recomputed.commutativity, options=SPACES.options, known=SPACES.known)],
    "effectiveness": [Case(recomputed_judges.effectiveness, [*TOY, "panels", "other panels"])],
    "off_target": [Case(recomputed_judges.off_target, [*TOY, "panels", "other panels"])],
    "truth": [Case(recomputed.truth, options=SPACES.options, known=SPACES.known), Case(recomputed.truth, TABLES)],
    "percentage_error": [Case(recomputed.percentage_error, TABLES)],
    "minimality": [Case(recomputed_sets.minimality)],
    "recognition": [Case(recomputed_sets.recognition)],
    "realism": [
        Case(recomputed_sets.realism, known={"space": "judge"}, absolute=ROOTS),
        Case(
            recomputed_sets.discrepancies,
            options={"spaces": ["pixel"], "quantities": ["mmd_linear", "mmd_gaussian"]},
            known={"space": "pixel"},
        ),
        Case(
            recomputed_sets.published_realism,
            options={"spaces": ["posterior"], "reference": "train", "pooled": True},
            known={"space": "posterior"},
            absolute=ROOTS,
        ),
    ],
    "memorisation": [Case(recomputed_sets.memorisation)],
    "reidentification": [Case(recomputed_sets.reidentification)],
    "generation": [Case(recomputed_sets.generation, absolute=ROOTS)],
    "extraction": [
        Case(recomputed_sets.extraction),
        Case(recomputed_sets.extraction, options={"members": 1}, known={"members": 1}),
    ],
    "estimate": [Case(recomputed_sets.estimate, [*TOY, "a unseen"])],
    "dose_response": [Case(recomputed_sets.dose_response)],
    "rung2": [
        Case(recomputed_sets.rung2, known={"spaces": ["judge", "posterior"]}, absolute=ROOTS),
        Case(recomputed_sets.rung2, TABLES),
    ],
    "draws": [
        Case(recomputed.draws),
        Case(recomputed.draws, ["bold"], options={"similarity": True}, known={"similarity": True}),
    ],
    "ms_ssim": [Case(recomputed.ms_ssim)],
    "localisation": [Case(recomputed_maps.localisation)],
    "parts": [Case(recomputed_maps.parts)],
    "grounding": [Case(recomputed_maps.grounding)],
    "identifiability": [Case(recomputed.identifiability, [*TOY, "a unseen"])],
    # What a classifier finds in noise has no closed form.
    "abduction": [Case(recomputed.abduction, [*TOY, "a unseen"], without=("prior_test", "leak"))],
    "latents": [Case(recomputed.latents, without=("order_divergence",))],
    "cost": [Case(recomputed.cost)],
}


@pytest.fixture(scope="module")
def runs():
    made = {}

    def run(name):
        if name not in made:
            made[name] = RUNS[name]()
        return made[name]

    return run


def computed(name, run, case):
    """The package's numbers."""
    columns = asked.computed(name, run.setting, run.answers, **case.options)
    points = {
        (c.cell.quantity, c.cell.intervened_in_words, c.cell.measured, c.cell.cycles, c.cell.space): c.point()
        for c in columns
    }
    return {key: value for key, value in points.items() if key[0] not in case.without}


@pytest.mark.parametrize("name", registry.metrics.builtins())
def test_numbers_are_those_of_the_definition(name, runs):
    """All that a metric gives, neither more nor fewer."""
    assert name in CASES, "write it once more from its definition in words, in recomputed.py, and name it in CASES"
    compared = 0
    for case in CASES[name]:
        for word in case.runs:
            run = runs(word)
            package, definition = computed(name, run, case), case.again(run.asked, run.world, **case.known)
            assert package.keys() == definition.keys(), word
            wrong = {
                k: (v, definition[k])
                for k, v in package.items()
                if v != pytest.approx(definition[k], rel=1e-6, abs=case.absolute)
            }
            assert not wrong, word
            compared += len(package)
    assert compared >= 10


@pytest.mark.parametrize("module", [recomputed, recomputed_judges, recomputed_maps, recomputed_sets])
def test_the_recomputation_imports_nothing_of_the_package(module):
    tree = ast.parse(Path(module.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    known = {*sys.stdlib_module_names, "numpy", "scipy", "sklearn"}
    assert {name for name in imported if name.partition(".")[0] not in known} <= {
        "metrics.recomputed",
        "metrics.recomputed_judges",
    }


def noise_numbers(abducted, prior, classes):
    """Numbers of the noise u of x, whose parent is the class k: which noise is which, and what of k is in it."""
    rows = torch.arange(len(classes))
    values = {"k": classes, "x": torch.zeros(len(classes))}
    variables = {"k": Categorical("k", ("one", "two", "three")), "x": Continuous("x", -1, 1)}
    setting = Setting(
        CausalGraph({"k": (), "x": ("k",)}), variables, "", ("k",), (), 1, (), noise={"x.u": abducted.shape[1]}
    )
    sample = NoiseSample({"x.u": abducted}, {"x.u": prior})
    batch = Batch(Samples(values, rows), "", noise=lambda: sample)
    columns = asked.computed("abduction", setting, [Answers(batch, Question("null", rows, cycle=1), values)])
    return {column.cell.quantity: column.point() for column in columns}


def test_what_is_in_noise_where_it_has_a_closed_form():
    """What a classifier finds in noise has a closed form at the ends alone; between them, tests of abduction know Bayes' rate."""
    classes = torch.arange(120) % 3
    prior = torch.randn(120, 3, generator=torch.Generator().manual_seed(0))
    apart = noise_numbers(prior + 100, prior, classes)
    assert apart["prior_test"] == 1
    told = noise_numbers(20 * torch.nn.functional.one_hot(classes).float(), prior, classes)
    assert told["leak"] == 1
    silent = noise_numbers(torch.zeros(120, 3), torch.zeros(120, 3), classes)
    assert silent["prior_test"] == 0.5
