"""First lines of docstrings, read from source files that are not run: importing torch to print a list takes seconds."""

from __future__ import annotations

import ast
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def of_registered(module: str) -> str:
    """What a module of ours says of the class or function that it registers; empty if there is none."""
    for node in _definitions(module).values():
        if any(
            isinstance(decorator, ast.Call)
            and isinstance(decorator.func, ast.Attribute)
            and decorator.func.attr == "register"
            for decorator in node.decorator_list
        ):
            return _first_line(node)
    return ""


def of_members(module: str, table: str) -> dict[str, str]:
    """What a module of ours says of the classes in a dictionary of its, `TABLE: ... = {"name": Class}`: name -> first line."""
    definitions = _definitions(module)
    for node in _tree(module).body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.value, ast.Dict):
            continue
        if isinstance(node.target, ast.Name) and node.target.id == table:
            return {
                str(key.value): _first_line(definitions[value.id])
                for key, value in zip(node.value.keys, node.value.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(value, ast.Name)
            }
    return {}


def _tree(module: str) -> ast.Module:
    path = _PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def _definitions(module: str) -> dict[str, ast.ClassDef | ast.FunctionDef]:
    return {node.name: node for node in _tree(module).body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def _first_line(node: ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "").split("\n")[0]
