"""Words on a terminal: without control characters, and in an encoding that the terminal has."""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata
from contextlib import suppress
from pathlib import Path

_FALLBACK = "counterbench.ascii"
_IN_ASCII = str.maketrans(
    {"→": "->", "←": "<-", "↓": "v", "↑": "^", "½": "1/2", "×": "x", "±": "+/-", "≤": "<=", "≥": ">=", "−": "-"}
    | {"–": "-", "—": "-", "…": "...", "·": ".", "‘": "'", "’": "'", "“": '"', "”": '"'}
)


def printable(text: str) -> str:
    """A name without control characters, line breaks and invisible marks: what is left cannot steer a terminal."""
    return "".join(letter for letter in text if letter.isprintable() or unicodedata.category(letter) == "Zs")


def one_line(text: str) -> str:
    """Somebody's words on one line, for a page or a list: what a terminal obeys instead of showing becomes a space."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(printable(line.expandtabs()) for line in text.split("\n"))


def open_streams() -> None:
    """Make stdout and stderr take every text: what is closed swallows it, what an encoding lacks is spelt in ASCII."""
    codecs.register_error(_FALLBACK, _spelt_in_ascii)
    # In the order of their numbers, so that no file of results is ever opened as number 1 or 2.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_FALLBACK)


def discard_stdout() -> None:
    """If stdout cannot be written, send what still waits nowhere: the interpreter would try once more at its end."""
    try:
        sys.stdout.flush()
        return
    except OSError:
        pass
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_unicode(encoding: str | None) -> bool:
    """Whether an encoding has every character."""
    with suppress(LookupError):
        return codecs.lookup(encoding or "ascii").name.startswith("utf")
    return False


def _spelt_in_ascii(error: UnicodeError) -> tuple[str, int]:
    """For :func:`codecs.register_error`: é as e, an arrow as ->, anything else as a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_letter_in_ascii(letter) for letter in text), error.end


def _letter_in_ascii(letter: str) -> str:
    decomposed = unicodedata.normalize("NFKD", letter.translate(_IN_ASCII))
    return decomposed.encode("ascii", "ignore").decode() or "?"
