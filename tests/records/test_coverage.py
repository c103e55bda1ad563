"""Intervals hold the true value as often as they say, and equal models do not differ: on data of known laws."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def simulation():
    spec = importlib.util.spec_from_file_location("docs_coverage", ROOT / "docs" / "coverage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def require_what_is_said(results):
    """0.93 at least: shares at 25 clusters and more, means at 50 and more; a law of skewness 33 is told to fail."""
    for law, row in results["coverage"].items():
        for (clusters, _), found in zip(results["sizes"], row, strict=True):
            if (law.startswith("share") and clusters >= 25) or (clusters >= 50 and "33" not in law):
                assert found >= 0.93, (law, clusters)
            assert found >= 0.88, (law, clusters)
    for row in (*results["classes"], *results["neighbours"]):
        assert all(found >= 0.9 for name, found in row.items() if name != "of"), row
    for law, row in results["tests"].items():
        assert row["p < 0.05"] <= 0.055, law
        assert row["p < 0.001"] <= 0.002, law
        assert row["any, after Holm"] <= 0.08, law


def test_the_published_tables_hold_what_intervals_say(simulation):
    results = json.loads(simulation.STORED.read_text("utf-8"))
    assert results["data_sets"] >= 1000
    assert set(results["coverage"]) == set(simulation.LAWS)
    require_what_is_said(results)


@pytest.mark.parametrize(
    ("law", "clusters", "each", "least"),
    [
        ("mean, exponential (skewness 2)", 50, 2, 0.92),
        ("skill, of lognormal errors", 50, 2, 0.92),
        ("share of 0.9", 25, 8, 0.92),
        ("share of 0.995", 50, 2, 0.92),
        ("share of 0.999", 139, 1, 0.92),
    ],
)
def test_intervals_hold_the_true_value(simulation, law, clusters, each, least):
    assert least <= simulation.coverage(law, clusters, each, 400, seed=1)


def test_intervals_of_classes_and_of_neighbours_hold_the_true_value(simulation):
    assert min(simulation.of_classes(100, 1, 0.06, 0.95, 60, seed=1).values()) >= 0.9
    assert min(simulation.of_neighbours(50, 2, 8, 40, seed=1).values()) >= 0.9


def test_equal_models_do_not_differ(simulation):
    found = simulation.false_alarms("lognormal 1.5", 25, 8, 40, seed=1)
    assert found["p < 0.05"] <= 0.055
    assert found["p < 0.001"] <= 0.003
    assert found["any, after Holm"] <= 0.1


@pytest.mark.slow
def test_everything_again_with_other_chance(simulation, monkeypatch):
    for name in ("coverage", "of_classes", "of_neighbours", "false_alarms"):
        whole = getattr(simulation, name)
        monkeypatch.setattr(
            simulation, name, lambda *given, whole=whole, **named: whole(*given, **{**named, "seed": 7})
        )
    require_what_is_said(simulation.measured(2000, 200))
