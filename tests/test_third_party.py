"""A package outside of ours, installed as anybody would: everything in it is found, keeps its contract, and every door to the same
model leads to the same numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "example_package"
MODELS = "effectiveness,truth,composition,reversibility,area"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which the package is installed (`site`), and its model trained (`runs/discs`)."""
    folder = tmp_path_factory.mktemp("third")
    source = folder / "source"
    subprocess.run(["cp", "-r", PACKAGE, source], check=True)
    install = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder / "site"), "."]
    subprocess.run([sys.executable, "-m", *install], cwd=source, check=True)
    recipe = str(folder / "site" / "discs" / "recipe.yaml")
    command(folder, "train", "--model", recipe, "--dataset", "discs", "--output", "runs/discs", "--device", "cpu", "-q")
    return folder


def command(folder, *words, code=0):
    return python(folder, "-m", "counterbench", *words, code=code)


def python(folder, *words, code=0):
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder / "site"),
        "OMP_NUM_THREADS": "1",
        "DISCS_MODEL": "runs/discs",
    }
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_everything_is_found(home):
    listed = command(home, "list")
    for words in (
        "discs                   Discs (sources: formula)",
        "shift ",
        "area ",
        "discs-judge",
        "discs-trained",
    ):
        assert words in listed
    assert "brightness" in command(home, "show", "discs")


CHECKED = """
from counterbench import datasets
from counterbench.contracts import checking

dataset = datasets.load("discs")
for name in ("discs", "shift", "discs-trained", "area", "discs-judge", "site/discs/recipe.yaml"):
    (kind,) = checking.kinds_of(name, "discs")
    for finding in checking.check(name, kind, dataset):
        print(kind, finding.status, finding.advice)
"""


def test_it_keeps_its_contract(home):
    assert "All that was asked holds." in command(home, "check", "discs")
    lines = python(home, "-c", CHECKED).splitlines()
    assert not [line for line in lines if " broken " in line]
    for kind in ("dataset", "mechanism", "model", "metric", "judge", "recipe"):
        assert sum(line.startswith(f"{kind} ok") for line in lines) >= 4, kind


WRAPPED = """
import json, os
import counterbench
from counterbench import models

dataset = counterbench.load_dataset("discs")
scm = models.load("runs/discs", dataset).model
result = counterbench.evaluate(scm.counterfactual, dataset, suite="quick", metrics={metrics}, limit=30, device="cpu", name="wrapped")
print(json.dumps([number.model_dump() for number in result.record.numbers]))
"""


def test_every_door_leads_to_the_same_numbers(home):
    """A trained recipe; a model in Python, found by its entry point; a function in a notebook."""
    asked = [
        "--dataset",
        "discs",
        "--suite",
        "quick",
        "--metrics",
        MODELS,
        "--limit",
        "30",
        "--device",
        "cpu",
        "-q",
        "--json",
    ]
    doors = [
        json.loads(command(home, "evaluate", "--model", "runs/discs", *asked))["numbers"],
        json.loads(command(home, "evaluate", "--model", "discs-trained", *asked))["numbers"],
        json.loads(python(home, "-c", WRAPPED.format(metrics=MODELS.split(",")))),
    ]
    assert {number["metric"] for number in doors[0]} == set(MODELS.split(","))
    assert doors[0] == doors[1] == doors[2]
    effects = [number["value"] for number in doors[0] if number["quantity"] == "effect"]
    assert len(effects) == 2
    assert all(value > 0.2 for value in effects), effects  # the model learned something


def test_the_record_names_the_plug_ins(home):
    (record,) = [
        json.loads(path.read_text())
        for path in (home / "results").rglob("record.json")
        if "discs-trained" in path.read_text()
    ]
    assert {"model discs-trained", "dataset discs", "metric area"} <= set(record["inputs"]["plugins"])


def test_a_model_that_lacks_something_says_so(home):
    environment = {**os.environ, "PYTHONPATH": str(home / "site"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "counterbench", "evaluate", "--model", "discs-trained", "--dataset", "discs"],
        cwd=home,
        env={key: value for key, value in environment.items() if key != "DISCS_MODEL"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "counterbench: Set DISCS_MODEL to a folder made by: counterbench train --model discs/recipe.yaml --dataset discs.\n"
    )
