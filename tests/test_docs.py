"""The documentation says what the code says."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from counterbench.leaderboard import board, formats
from counterbench.records.record import read_record

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "docs" / "make.py").exists(), reason="only in a checkout")


def script(name):
    """A script of docs/, as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(toy):
    return script("make")


def test_generated_pages_are_up_to_date(made):
    for path, text in made.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is out of date: run python docs/make.py"


def test_small_boards_are_those_of_the_published_records(made):
    """Two of them, built again in seconds, are to the letter what is committed; of all others the rows are those of the records."""
    folder = ROOT / "docs" / "leaderboard"
    for name in ("ellipse-formula", "adni-3d-template"):
        built = board.build(board.find(made.ALL_RECORDS / name))
        for path, text in formats.pages(built).items():
            if path.startswith(name):
                assert (folder / path).read_text(encoding="utf-8") == text, f"{path} is out of date: run docs/make.py"
    told = json.loads((folder / board.BOARDS).read_text(encoding="utf-8"))["boards"]
    records = [read_record(path) for path in board.find(made.ALL_RECORDS)]
    inside = {one.record for record in records for one in record.group}  # one row of several trainings
    known = {record.inputs.hash for record in records if not record.is_baseline} - inside
    assert {row["record"] for one in told for row in one["models"]} == known
    assert len(known) > 30


@pytest.mark.slow
def test_boards_are_those_of_the_published_records(made):
    """Built again from the records they are, to the letter, what is committed; and there are no others."""
    boards = made.boards()
    for path, text in boards.items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is out of date: run python docs/make.py"
    assert set((ROOT / "docs" / "leaderboard").iterdir()) == set(boards)


def test_every_metric_has_a_page_with_a_figure(made):
    from counterbench.plugins import registry

    names = set(registry.metrics.builtins())
    assert names == set(made.READ)
    for name in names:
        assert (made.IMAGES / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_the_curves_of_the_figures_are_what_the_metrics_give(toy):
    """The stored experiment is there for every metric; those parts of it that take a moment are run again."""
    from counterbench.plugins import registry

    sensitivity = script("sensitivity")
    stored = json.loads(sensitivity.STORED.read_text(encoding="utf-8"))
    assert set(stored) == set(registry.metrics.builtins())
    assert all(len(panel["x"]) == len(panel["y"]) > 2 for panels in stored.values() for panel in panels)
    for name in ("cost", "abduction", "truth", "off_target"):
        for panel, now in zip(stored[name], sensitivity.panels(name), strict=True):
            assert (panel["x_label"], panel["y_label"], panel["truth"]) == (now.x_label, now.y_label, now.truth)
            assert panel["x"] == list(now.x)
            assert panel["y"] == pytest.approx(list(now.y), rel=1e-3, abs=1e-3)


def test_links_and_pictures_lead_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+?)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page}: {target}"


def test_python_blocks_of_the_how_to_run(tmp_path):
    text = (ROOT / "docs" / "bring-your-own.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 3
    (tmp_path / "blocks.py").write_text("\n\n".join(blocks))
    done = subprocess.run([sys.executable, "blocks.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_metric_of_the_how_to_judges(toy, monkeypatch):
    """The example, as a plug-in would bring it."""
    from counterbench import evaluation
    from counterbench.models.model import Contestant
    from counterbench.plugins import registry

    text = (ROOT / "docs" / "bring-your-own.md").read_text(encoding="utf-8")
    block = next(b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Change" in b)
    names: dict = {"__name__": "change"}
    with registry.metrics.temporarily("change"):
        exec(compile(block, "change.py", "exec"), names)
        exam = evaluation.prepare(toy.Toy(), device="cpu", metrics=["change", "truth"], limit=10)
        record = evaluation.evaluate(Contestant("exact", toy.ExactModel()), exam).record
    changes = [number for number in record.numbers if number.metric == "change"]
    assert {number.intervened for number in changes} == {"a", "b", "c"}
    assert all(number.references["identity"].value == 0 for number in changes)


def test_the_objective_of_the_page_on_training_trains(toy, tmp_path):
    """The example, as a plug-in would bring it, in a stage of a recipe; its note is a curve."""
    import json

    from counterbench.catalog.recipes import Recipe
    from counterbench.plugins import registry
    from counterbench.training import recipes
    from counterbench.training.hardware import Hardware

    (block,) = (body for page, body in blocks("python") if page.name == "training.md")
    stage = {"objective": "hardest", "options": {"temperature": 2}, "fit": {"epochs": 2, "batch_size": 50}}
    plain = {"family": "spline_flow", "options": {"bins": 0}, "fit": {"epochs": 1}}
    picture = {"family": "vae", "options": {"latent": 2, "encoder_channels": [4]}, "fit": {"epochs": 1}}
    entries = {
        "a": {"family": "spline_flow", "stages": [stage]},
        "b": plain,
        "c": {"family": "empirical"},
        "image": picture,
    }
    recipe = Recipe.model_validate({"name": "r", "title": "R", "dataset": "toy", "mechanisms": entries})
    with registry.objectives.temporarily("hardest"):
        exec(compile(block, "hardest.py", "exec"), {"__name__": "hardest"})
        folder = recipes.train(recipe, toy.Toy(), output=tmp_path / "r", hardware=Hardware("cpu"))
    curve = json.loads((folder / "manifest.json").read_text())["curves"]["a"]
    assert curve["objective"] == "hardest"
    assert all(1 < counted < 50 for counted in curve["parts"]["counted"])


def blocks(language: str) -> list[tuple[Path, str]]:
    """Fenced code of all pages that people wrote, and of the README."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        found += [(page, body) for name, body in fenced if name == language]
    return found


def commands() -> list[tuple[Path, list[str]]]:
    """Every `counterbench ...` line of every block, without its remark."""
    found = []
    for page, body in blocks(""):
        for line in body.splitlines():
            for part in line.split("  #")[0].split(" && "):
                if "counterbench" not in part:
                    continue
                words = shlex.split(part)
                while words and re.fullmatch(r"\w+=\S+", words[0]):
                    words = words[1:]
                if words and words[0] == "counterbench":
                    found.append((page, words[1:]))
    return found


def test_every_command_of_every_page_is_one_and_names_what_there_is(tmp_path, monkeypatch):
    """Each is parsed as the command line would, and what it names is looked up; none is run."""
    monkeypatch.chdir(tmp_path)
    Path("evening.yaml").write_text("model: vae\ndataset: morphomnist\n")
    from counterbench import datasets, models
    from counterbench.catalog.generated import is_generated
    from counterbench.catalog.suites import suite_paths
    from counterbench.cli import main

    assert len(commands()) > 40
    for page, words in commands():
        where, command, rest = f"{page.name}: counterbench {' '.join(words)}", main, list(words)
        while isinstance(command, click.Group):
            context = command.make_context("counterbench", rest, resilient_parsing=False) if command is main else None
            rest = [*context._protected_args, *context.args] if context is not None else rest
            assert command.get_command(None, rest[0]) is not None, where
            command, rest = command.get_command(None, rest[0]), rest[1:]
        given = command.make_context("counterbench", rest).params
        for dataset in (given.get("dataset") or "morphomnist").split(","):
            if dataset.endswith(".yaml") or "my-" in dataset:
                continue
            assert dataset in datasets.names() or is_generated(dataset), where
            named = given.get("model_names") or [given.get("model") or "identity"]
            for model in ",".join(named).split(","):
                own = "/" in model or model.endswith(".yaml") or model.startswith(("my-", "mine"))
                assert own or model in models.names(dataset), where
        suite = given.get("suite") or "standard"
        assert suite in suite_paths() or suite.endswith(".yaml"), where


def programs() -> list[tuple[Path, str]]:
    """The Python of all pages: block by block, or, of those that are notebooks, from top to bottom."""
    apart, whole = [], {}
    for page, body in blocks("python"):
        if "a notebook too: `examples/" in page.read_text(encoding="utf-8") or page.name == "monai-tutorial.md":
            whole.setdefault(page, []).append(body)
        else:
            apart.append((page, body))
    assert len(whole) == 3
    return apart + [(page, "\n".join(bodies)) for page, bodies in whole.items()]


@pytest.mark.parametrize(
    ("page", "body"), [pytest.param(*one, id=f"{one[0].name}-{i}") for i, one in enumerate(programs())]
)
def test_every_python_block_runs(page, body, tmp_path):
    if page.name == "bring-your-own.md":
        pytest.skip("they run together, above")
    if page.name == "monai-tutorial.md":
        pytest.importorskip("monai", reason="MONAI is not installed")
        body = body.replace("STEPS = 1200", "STEPS = 4").replace("limit=50", "limit=10")  # it takes some minutes
        assert "STEPS = 4" in body
    (tmp_path / "block.py").write_text(body)
    done = subprocess.run([sys.executable, "block.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("page", "body"), [pytest.param(*one, id=f"{one[0].name}-{i}") for i, one in enumerate(blocks("yaml"))]
)
def test_every_yaml_block_is_one(page, body):
    import yaml

    from counterbench.catalog.cards import Card
    from counterbench.catalog.recipes import MechanismEntry
    from counterbench.catalog.studies import Study
    from counterbench.catalog.sweeps import Sweep

    content = yaml.safe_load(body)
    if "variables" in content:
        Card.model_validate(content)
    elif "image" in content:
        MechanismEntry.model_validate(content["image"])
    elif "space" in content:
        Study.model_validate(content)
    elif "models" in content or "judges" in content:
        Sweep.model_validate(content)


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SEARCH = """<script>setTimeout(() => {
  const field = document.querySelector('[data-md-component="search-query"]');
  document.querySelector('[data-md-toggle="search"]').click();
  field.focus();
  field.value = WORD;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.dispatchEvent(new KeyboardEvent("keyup", { bubbles: true }));
  setTimeout(() => { document.title = "found " + document.querySelector(".md-search-result__item h1").textContent; }, 4000);
}, 1500)</script></body>"""


def found_from_disk(site, word):
    """The first page that the site's search finds, opened as a file."""
    text = (site / "index.html").read_text().replace("</body>", SEARCH.replace("WORD", json.dumps(word)))
    (site / "probe.html").write_text(text)
    words = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
    words += ("--virtual-time-budget=20000", "--dump-dom", (site / "probe.html").as_uri())
    done = subprocess.run([BROWSER, *words], capture_output=True, text=True, timeout=120, check=True)
    return re.search("<title>found (.*?)</title>", done.stdout)[1]


def test_the_site_builds_without_a_warning(tmp_path):
    """No page outside of the navigation, no link or anchor that leads nowhere, no argument that a docstring misnames; and it
    opens from disk without a network. Not quietly: mkdocs counts no warning that it does not print."""
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Documentation built in" in done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    front = (tmp_path / "site" / "index.html").read_text()
    assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//', front)
    assert not re.findall(r'"(?:https?:)?//[^"]*iframe-worker', front)  # the search is here, too
    if BROWSER is not None:
        assert found_from_disk(tmp_path / "site", "reidentification") == "Re-identification"
    reference = (tmp_path / "site" / "reference.html").read_text()
    for name in (
        "counterbench.api.evaluate",
        "counterbench.mechanisms.base.Mechanism.abduct",
        "counterbench.contracts.checking.check",
    ):
        assert f'id="{name}"' in reference
    assert "counterbench train-judges" in (tmp_path / "site" / "cli.html").read_text()
