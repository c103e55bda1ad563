"""The YAML of declarations: words, numbers, yes and no, lists, and keys with values.

It is the safe part of YAML 1.1, but for four things: a number may be written 8e-2, and a date or 12:30 is a word; tags are
refused; a key may be there only once; and what aliases expand to is bounded, like depth.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

_SIZE, _DEPTH = 100_000, 50
"""How many words and brackets a declaration may hold when its aliases are written out, and how deeply nested."""


class _Loader(yaml.SafeLoader):
    """Reads plain data only."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # its own, filled below

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(None, None, "tags are not read here", event.start_mark)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, ScalarNode)):
            if key.value in seen:
                raise yaml.composer.ComposerError(None, None, "a key is there twice", key.start_mark)
            seen.add(key.value)
        return node


def _resolve(kind: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"^(?:{pattern})$"), list(first))


_resolve("bool", "yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO")
_resolve("null", "~|null|Null|NULL|", "~nN")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])
_resolve("int", "[-+]?(?:0|[1-9][0-9_]*|0[0-7_]+|0b[01_]+|0x[0-9a-fA-F_]+)", "-+0123456789")
_resolve(
    "float",
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?(?:0|[1-9][0-9_]*)[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "-+0123456789.",
)
_resolve("merge", "<<", "<")


def parse(text: str) -> Any:
    """What a YAML document says, as plain data.

    Raises:
        ValueError: if it is none, or says too much; the message continues "... is not valid YAML".
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _measure(root, 0, {})
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        said = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise ValueError(f"{place}: {said}") from error
    except RecursionError as error:
        raise ValueError(f": it is nested more than {_DEPTH} deep") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise ValueError(f": {error}") from error


def _measure(node: Node, depth: int, sizes: dict[int, int]) -> int:
    """How many nodes there are below one when every alias is written out; each is visited once."""
    if depth > _DEPTH:
        raise yaml.composer.ComposerError(None, None, f"it is nested more than {_DEPTH} deep", node.start_mark)
    if id(node) not in sizes:
        parts = [] if isinstance(node, ScalarNode) else node.value
        nodes = [one for pair in parts for one in pair] if isinstance(node, MappingNode) else parts
        sizes[id(node)] = 1 + sum(_measure(one, depth + 1, sizes) for one in nodes)
    if sizes[id(node)] > _SIZE:
        raise yaml.composer.ComposerError(
            None, None, f"it says more than {_SIZE:,} things when its aliases are written out", node.start_mark
        )
    return sizes[id(node)]
