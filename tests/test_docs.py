"""The documentation says what the code says."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "docs" / "make.py").exists(), reason="only in a checkout")


@pytest.fixture(scope="module")
def made(toy):
    spec = importlib.util.spec_from_file_location("docs_make", ROOT / "docs" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_up_to_date(made):
    for path, text in made.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is out of date: run python docs/make.py"


def test_boards_are_those_of_the_published_records(made):
    """Built again from the records they are, to the letter, what is committed; and there are no others."""
    boards = made.boards()
    for path, text in boards.items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is out of date: run python docs/make.py"
    assert set((ROOT / "docs" / "leaderboard").iterdir()) == set(boards)


def test_every_metric_has_a_page_with_a_figure(made):
    from counterbench import registry

    names = {name for name in registry.metrics.names() if name in registry.metrics._builtins}
    assert set(made.ORDER) == names == set(made.READ)
    for name in names:
        assert (made.IMAGES / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


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
    from counterbench import evaluation, registry
    from counterbench.models import Contestant

    text = (ROOT / "docs" / "bring-your-own.md").read_text(encoding="utf-8")
    block = next(b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Change" in b)
    names: dict = {"__name__": "change"}
    try:
        exec(compile(block, "change.py", "exec"), names)
        exam = evaluation.prepare(toy.Toy(), device="cpu", metrics=["change", "truth"], limit=10)
        record = evaluation.evaluate(Contestant("exact", toy.ExactModel()), exam).record
    finally:
        registry.metrics._loaded.pop("change", None)
    changes = [number for number in record.numbers if number.metric == "change"]
    assert {number.intervened for number in changes} == {"a", "b", "c"}
    assert all(number.references["identity"].value == 0 for number in changes)
