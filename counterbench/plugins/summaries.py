"""First lines of docstrings, read from source files that are not run: importing torch to print a list takes seconds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def of_registered(module: str) -> str:
    """What a module of ours says of the class or function that it registers; empty if there is none."""
    return next((_first_line(node) for node, _ in _registered(module)), "")


def extra_of_registered(module: str) -> str:
    """The extra that what a module of ours registers needs, `@registry.KIND.register(extra="name")`; empty if none."""
    for _, call in _registered(module):
        for keyword in call.keywords:
            if keyword.arg == "extra" and isinstance(keyword.value, ast.Constant):
                return str(keyword.value.value)
    return ""


def words_of_registered(module: str, attribute: str) -> tuple[str, ...]:
    """Words that a class which a module of ours registers lists in an attribute, `also = ("FID", "KID")`; none where it does not."""
    for node, _ in _registered(module):
        for line in node.body:
            if isinstance(line, ast.Assign) and [ast.unparse(target) for target in line.targets] == [attribute]:
                return tuple(ast.literal_eval(line.value))
    return ()


def _registered(module: str) -> Iterator[tuple[ast.ClassDef | ast.FunctionDef, ast.Call]]:
    """(definition, its decorator) of what a module registers."""
    for node in _definitions(module).values():
        for decorator in node.decorator_list:
            if (
                isinstance(decorator, ast.Call)
                and isinstance(decorator.func, ast.Attribute)
                and decorator.func.attr == "register"
            ):
                yield node, decorator


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
