"""`counterbench new`: what it writes works, outside of the repository, as a stranger would use it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from counterbench.cli import main
from counterbench.errors import ConfigError
from counterbench.scaffold import starts


def run(folder, *command):
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", starts.KINDS)
def test_a_start_passes_its_own_tests(kind, tmp_path):
    said = CliRunner().invoke(main, ["new", kind, f"my-{kind}", "--output", str(tmp_path / "mine")])
    assert said.exit_code == 0, said.output
    for path in said.output.splitlines()[:-1]:
        assert Path(path).stat().st_size > 300
    run(tmp_path / "mine", "-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_the_readme_says_what_works_without_installing(tmp_path):
    starts.create("metric", "my-metric", output=tmp_path)
    text = (tmp_path / "README.md").read_text()
    (command,) = [line.split("`")[1] for line in text.splitlines() if "--plugin" in line]
    assert "All that was asked holds." in run(tmp_path, "-m", *command.split())


def test_a_recipe_comes_with_a_mechanism_and_keeps_its_contract(tmp_path):
    starts.create("mechanism", "my-noise", output=tmp_path)
    out = run(tmp_path, "-m", "counterbench", "--plugin", "my_noise/mechanism.py", "check", "my_noise/recipe.yaml")
    assert "thickness: generate undoes abduct" in out


def test_the_code_is_tidy(tmp_path):
    """What we give is as clean as what we keep."""
    for kind in starts.KINDS:
        starts.create(kind, f"my-{kind}", output=tmp_path / kind)
        rules = ["--isolated", "--line-length", "130", "--select", "E,F,I,B,SIM,UP,PT"]
        run(tmp_path / kind, "-m", "ruff", "check", *rules, ".")


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("model", "Mine", "small letters"),
        ("model", "identity", "already"),
        ("model", "hvae", "already"),
        ("dataset", "adni", "already"),
        ("metric", "truth", "already"),
        ("mechanism", "vae", "already"),
        ("model", "torch", "Python package 'torch' cannot be made"),
        ("model", "class", "Python package 'class' cannot be made"),
    ],
)
def test_names_that_cannot_be(kind, name, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        starts.create(kind, name, output=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something already"):
        starts.create("model", "my-model", output=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
