"""Numbers in sentences."""

from __future__ import annotations

_VERBS = {"are": "is", "have": "has"}


def counted(count: int, noun: str, *, verb: str = "") -> str:
    """A number with its noun, and the verb after it, in the number that they need.

    Args:
        count: of things.
        noun: of several of them.
        verb: `are` or `have`; empty for none.

    Examples:
        >>> counted(1, "boards"), counted(2, "boards"), counted(1, "numbers", verb="are"), counted(2000, "entries")
        ('1 board', '2 boards', '1 number is', '2,000 entries')
        >>> counted(1, "entries"), counted(0, "images")
        ('1 entry', '0 images')
    """
    if count != 1:
        return f"{count:,} {noun}" + (f" {verb}" if verb else "")
    single = f"{noun.removesuffix('ies')}y" if noun.endswith("ies") else noun.removesuffix("s")
    return f"1 {single}" + (f" {_VERBS[verb]}" if verb else "")
