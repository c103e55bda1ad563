"""Which names a declaration may give. They become parts of paths, keys and captions, so their characters are restricted."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from counterbench.errors import short

_LONGEST = 64
_RESERVED = ("id", "training")
"""Names that something else has where variables are listed: the answers of `score`, the modules of torch."""


def require_name(given: object) -> str:
    """`given`, if it is the name of a card, a source, a recipe or a suite; else ValueError with a sentence."""
    if not isinstance(given, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", given) or len(given) > _LONGEST:
        raise ValueError(
            f"{short(given)} cannot be a name; give 1 to {_LONGEST} letters (a-z, A-Z), digits, points, hyphens and underscores, "
            "of which the first is a letter or a digit."
        )
    return given


def _variable(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", given) or len(given) > _LONGEST:
        raise ValueError(
            f"{short(given)} cannot be the name of a variable; give 1 to {_LONGEST} letters (a-z, A-Z), digits, hyphens and "
            "underscores, of which the first is a letter or a digit."
        )
    if given in _RESERVED:
        raise ValueError(f"{given!r} cannot be the name of a variable, it is reserved; choose another one.")
    return given


def _label(given: str) -> str:
    if not given or len(given) > _LONGEST or not given.isprintable() or "$" in given or given != given.strip():
        raise ValueError(
            f"{short(given)} cannot be the name of a class or of a unit; give 1 to {_LONGEST} characters on one line, without $ and "
            "without spaces around them."
        )
    return given


def _unit(given: str) -> str:
    return _label(given) if given else given


Name = Annotated[str, AfterValidator(require_name)]
"""Of a card, a source, a recipe or a suite."""
VariableName = Annotated[str, AfterValidator(_variable)]
ClassName = Annotated[str, AfterValidator(_label)]
"""In any language."""
Unit = Annotated[str, AfterValidator(_unit)]
"""In any language; empty for none."""
