"""The errors a user can cause. Each message says what was given, what is wrong, and what would be right."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

_ECHO = 80
"""How many characters of what was given a message repeats, at most."""
_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxlong, _repr.maxstring, _repr.maxother = 3, 40, _ECHO - 2, _ECHO


class CounterbenchError(Exception):
    """A mistake that the user can mend. The command line prints its message alone, without a traceback."""


class UnknownNameError(CounterbenchError, LookupError):
    """A name that nothing is registered under."""

    def __init__(self, kind: str, name: object, known: Iterable[str]):
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(f"Unknown {kind} {short(str(name))}.{suggestion(str(name), self.known)}")


class ConfigError(CounterbenchError, ValueError):
    """A card, recipe or suite that cannot be read."""


class GraphError(CounterbenchError, ValueError):
    """Something that is not a causal graph, or a query that it cannot answer."""


class DataError(CounterbenchError, ValueError):
    """Data that is missing, damaged, out of range or not a number."""


class CheckpointError(CounterbenchError, ValueError):
    """Weights that are missing, truncated, altered, or made for another model."""


class UnavailableError(CounterbenchError):
    """Something that cannot be used here: a file to fetch, a package to install, nothing pinned by the card.

    A number that needs it is skipped aloud, with this reason.
    """


class ModelError(CounterbenchError, ValueError):
    """A model that answers with something that is not an answer."""


class RecordError(CounterbenchError, ValueError):
    """A record that cannot be written, read or reused."""


class RecordWarning(UserWarning):
    """A file that is left out of the boards: no record, or one that cannot be true."""


class CacheWarning(UserWarning):
    """The cache cannot be written: nothing is lost, but what could be kept is made anew each time."""


def short(value: object) -> str:
    """What was given, as a message repeats it: its repr, cut to 80 characters whatever its size."""
    try:
        text = _repr.repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = f"({type(value).__name__})"
    return text if len(text) <= _ECHO else f"{text[: _ECHO - 3]}..."


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the closest match, if any, and the list."""
    names = sorted(known)
    if not names:
        return " There are none."
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(names)}."
