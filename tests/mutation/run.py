"""Which small wrong changes of the package do the tests notice?

    python tests/mutation/run.py --jobs 2

Every change of `changes.yaml` is made in a copy of the package, and the tests that ought to know run on it. A change that they do
not notice survives: a number or a decision could be wrong, and nobody would be told. The run fails if fewer than nine in ten are
noticed, if the tests fail without any change, or if a change does not fit the package any more.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHANGES = Path(__file__).with_name("changes.yaml")
WANTED = 0.9
"""Share of the changes that has to be noticed."""
SECONDS = 900
"""After these, tests count as stuck: so has a change been noticed."""
_PRELOADED = (
    "numpy",
    "scipy.stats",
    "sklearn.neural_network",
    "torch",
    "torchmetrics",
    "pytorch_lightning",
    "pydantic",
)


@dataclass(frozen=True)
class Change:
    """One small wrong change.

    Args:
        what: what would be wrong.
        file: that is changed, relative to the repository.
        old, new: a text that stands exactly once in the file, and what takes its place.
        tests: modules, or tests in them, that ought to notice.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """The file's text with the change.

        Raises:
            ValueError: if the old text does not stand there exactly once.
        """
        if (count := text.count(self.old)) != 1:
            raise ValueError(
                f"{self.file}: {self.old!r} stands there {count} times; mend this entry of {CHANGES.name}."
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Outcome:
    """What tests said: pytest's exit status, None if they were stuck; seconds; the end of their output."""

    status: int | None
    seconds: float
    output: str


def load() -> list[Change]:
    """All changes, in the order of the file."""
    return [Change(**{**entry, "tests": tuple(entry["tests"])}) for entry in yaml.safe_load(CHANGES.read_text("utf-8"))]


def copied(home: Path, change: Change | None) -> None:
    """Make `home` a checkout whose package has the change; everything else is the repository's own."""
    ignored = shutil.ignore_patterns("__pycache__")
    for path in ROOT.iterdir():
        if path.name == "counterbench":
            shutil.copytree(path, home / path.name, ignore=ignored)
        elif path.name != ".git":
            (home / path.name).symlink_to(path)
    if change:
        path = home / change.file
        path.write_text(change.applied(path.read_text("utf-8")), "utf-8")


def outcome(task: tuple[Change | None, tuple[str, ...]]) -> Outcome:
    """Run tests on a copy of the package; for a process of its own, which has not imported the package yet."""
    change, tests = task
    begun, stuck = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        copied(home, change)
        os.chdir(home)
        sys.path.insert(0, str(home))
        sys.dont_write_bytecode = True
        os.environ |= {
            "PYTHONPATH": str(home),
            "COUNTERBENCH_CACHE": str(home / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

        def give_up(*_: object) -> None:
            stuck.append(True)
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, give_up)
        signal.alarm(SECONDS)
        with (home / "output.txt").open("w+") as output:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
                os.dup2(output.fileno(), stream.fileno())
            status = _tested(home, tests)
            signal.alarm(0)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            output.seek(0)
            said = output.read()[-3000:]
        os.chdir(ROOT)
    return Outcome(None if stuck else status, time.monotonic() - begun, said)


def _tested(home: Path, tests: Sequence[str]) -> int:
    import pytest

    package = Path(importlib.import_module("counterbench").__file__ or "")
    if home not in package.parents:
        raise RuntimeError(f"{package} was imported instead of the copy in {home}")
    return int(pytest.main(["-n", "0", "-x", "-p", "no:cacheprovider", *tests]))


def by_module(changes: Sequence[Change]) -> dict[str, tuple[str, ...]]:
    """Module -> those of its tests that some change names; the whole module, where one names that."""
    named: dict[str, set[str]] = {}
    for test in (test for change in changes for test in change.tests):
        named.setdefault(test.partition("::")[0], set()).add(test)
    return {module: (module,) if module in tests else tuple(sorted(tests)) for module, tests in named.items()}


def main() -> int:
    """Exit status: 0 if enough changes are noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, help="how many copies at a time")
    parser.add_argument("--only", default="", help="changes whose file or description has this in it")
    options = parser.parse_args()
    changes = [change for change in load() if options.only in f"{change.file} {change.what}"]
    for change in changes:
        change.applied((ROOT / change.file).read_text("utf-8"))
    tests = by_module(changes)
    for name in _PRELOADED:
        with suppress(ImportError):
            importlib.import_module(name)  # once, and not in every copy
    with multiprocessing.get_context("fork").Pool(options.jobs, maxtasksperchild=1) as pool:
        if not all_pass(pool, tests):
            print("Some tests fail without any change, so that nothing could be told from them.")
            return 2
        found = pool.imap(outcome, [(change, change.tests) for change in changes])
        return report(changes, [told(change, one) for change, one in zip(changes, found, strict=True)])


def all_pass(pool: Pool, tests: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether the tests pass on the package as it is."""
    found = []
    for module, one in zip(tests, pool.imap(outcome, [(None, named) for named in tests.values()]), strict=True):
        found.append(one.status == 0)
        print(f"{'passed' if found[-1] else 'FAILED':9} {one.seconds:4.0f} s  unchanged: {module}", flush=True)
        if not found[-1]:
            print(one.output)
    return all(found)


def told(change: Change, found: Outcome) -> Outcome:
    """Say what became of one change."""
    words = {0: "SURVIVED", 1: "noticed", None: "stuck"}.get(found.status, "BROKEN")
    print(f"{words:9} {found.seconds:4.0f} s  {change.file}: {change.what}", flush=True)
    if words == "BROKEN":
        print(found.output)
    return found


def report(changes: Sequence[Change], found: Sequence[Outcome]) -> int:
    """The score, and what survived."""
    noticed = sum(one.status in (1, None) for one in found)
    survivors = [change for change, one in zip(changes, found, strict=True) if one.status == 0]
    broken = len(changes) - noticed - len(survivors)
    print(f"\n{noticed} of {len(changes)} changes noticed ({noticed / max(len(changes), 1):.1%}).")
    for change in survivors:
        print(f"survived: {change.file}: {change.what}")
    if broken:
        print(f"{broken} changes leave a package that tests cannot even be collected with; mend them.")
    return 0 if not broken and noticed >= WANTED * len(changes) else 1


if __name__ == "__main__":
    sys.exit(main())
