"""A component with its options, as a user writes it in one word: KIND:option=value,option=value."""

from __future__ import annotations

from typing import Any

from counterbench.catalog.plain_yaml import parse
from counterbench.errors import ConfigError, short


def parsed_kind(words: str, flag: str) -> tuple[str, dict[str, Any]]:
    """(kind, options) of what a user writes as KIND:option=value,option=value.

    Args:
        words: what was written.
        flag: where, for messages.

    Raises:
        ConfigError: for options that are not written so.

    Examples:
        >>> parsed_kind("group_dro:eta=0.05", "--weighting")
        ('group_dro', {'eta': 0.05})
    """
    kind, sign, rest = words.partition(":")
    options: dict[str, Any] = {}
    for part in _split_outside_brackets(rest) if sign else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"{flag} {short(words)}: write KIND, or KIND:option=value,option=value.")
        options[key.strip()] = _value(value.strip(), flag)
    return kind, options


def _value(word: str, flag: str) -> Any:
    """A word as YAML reads it; a mask of 0 and 1 stays a word."""
    if len(word) > 1 and set(word) <= {"0", "1"}:
        return word
    try:
        return parse(word)
    except ValueError:
        raise ConfigError(f"{flag}: {short(word)} is no value; write a number, a word, or [a, b].") from None


def _split_outside_brackets(words: str) -> list[str]:
    parts, depth = [""], 0
    for letter in words:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
