"""Hashes of this package's own code: what was computed by other code is never taken for ours, and what cannot matter is not asked."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path

_FOLDER = Path(__file__).parents[1]
_PACKAGE = _FOLDER.name
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Fields of a syntax tree that hold statements, or what holds statements."""


def code_hash(modules: Iterable[str]) -> str:
    """SHA-256 of some modules of this package and of all modules of it that they import, directly or not.

    Imports inside of functions count, those for type checkers do not. Modules of other packages are passed over: versions and
    the hashes of plug-ins tell them.

    Args:
        modules: their names.

    Examples:
        >>> code_hash(["counterbench.errors"]) == code_hash(["counterbench.errors", "numpy"])
        True
        >>> code_hash(["counterbench.errors"]) == code_hash(["counterbench.causal.graph"])
        False
    """
    digest = hashlib.sha256()
    for name in sorted(_behind(frozenset(modules))):
        path = _file(name)
        assert path is not None
        digest.update(f"{name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@lru_cache(maxsize=8)
def _behind(modules: frozenset[str]) -> frozenset[str]:
    found: set[str] = set()
    waiting = [name for name in modules if _file(name)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _imported(name)
    return frozenset(found)


@cache
def _imported(name: str) -> tuple[str, ...]:
    """What a module imports of this package, with the packages around it, whose own files run before."""
    path = _file(name)
    assert path is not None
    found = set()
    for imported in _statements(ast.parse(path.read_text("utf-8"))):
        parts = imported.split(".")
        found |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return tuple(sorted(one for one in found if _file(one)))


def _statements(node: ast.AST) -> Iterator[str]:
    """Names in the import statements under a node; `from a import b` gives `a` and `a.b`, of which the latter may be no module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    of_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for block in _BLOCKS[of_types:]:  # an import is a statement, so expressions are not looked through
        for statement in getattr(node, block, ()):
            yield from _statements(statement)


def _file(name: str) -> Path | None:
    """The file of a module of this package; None for any other name."""
    package, *parts = name.split(".")
    if package != _PACKAGE:
        return None
    stem = _FOLDER.joinpath(*parts)
    files = [stem / "__init__.py", *([stem.with_suffix(".py")] if parts else [])]
    return next((path for path in files if path.is_file()), None)
