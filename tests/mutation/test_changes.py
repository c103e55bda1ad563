"""The list of small wrong changes fits the package, and the tests notice what it holds."""

import ast
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from mutation import run

CHANGES = run.load()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change.file}: {change.what}")
def test_a_change_fits_the_package_and_names_tests_that_are_there(change):
    text = (run.ROOT / change.file).read_text("utf-8")
    changed = change.applied(text)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))
    assert change.tests
    for test in change.tests:
        module, _, name = test.partition("::")
        source = (run.ROOT / module).read_text("utf-8")
        assert not name or f"def {name}(" in source, test


def test_a_change_uses_names_that_are_there(tmp_path):
    """Whatever fails for want of a name would be noticed by any test."""
    for number, change in enumerate(CHANGES):
        text = change.applied((run.ROOT / change.file).read_text("utf-8"))
        (tmp_path / f"change_{number}.py").write_text(text, "utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F821", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_change_is_another_one():
    assert len(CHANGES) >= 60
    assert Counter((change.file, change.old, change.new) for change in CHANGES).most_common(1)[0][1] == 1
    assert Counter(change.what for change in CHANGES).most_common(1)[0][1] == 1


def test_an_entry_that_has_grown_old_is_told():
    change = CHANGES[0]
    text = (run.ROOT / change.file).read_text("utf-8")
    for old, count in (("no such text", 0), ("import", text.count("import"))):
        with pytest.raises(ValueError, match=f"stands there {count} times; mend this entry"):
            replace(change, old=old).applied(text)


@pytest.mark.parametrize(
    ("statuses", "expected", "words"),
    [
        ([1] * 9 + [0], 0, "9 of 10 changes noticed (90.0%)"),
        ([1] * 8 + [0, 0], 1, "8 of 10 changes noticed (80.0%)"),
        ([1] * 8 + [None, 0], 0, "9 of 10 changes noticed"),
        ([1] * 9 + [2], 1, "1 changes leave a package"),
    ],
)
def test_the_score_and_what_it_takes(statuses, expected, words, capsys):
    found = [run.Outcome(status, 1.0, "") for status in statuses]
    assert run.report(CHANGES[:10], found) == expected
    said = capsys.readouterr().out
    assert words in said
    assert said.count("survived: ") == statuses.count(0)


@pytest.mark.slow
def test_nine_in_ten_are_noticed():
    done = subprocess.run([sys.executable, run.__file__, "--jobs", "2"], capture_output=True, text=True, cwd=run.ROOT)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
