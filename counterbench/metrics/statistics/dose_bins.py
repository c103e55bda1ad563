"""What the numbers of the dose-response are called. Imports no torch, so that boards can draw them."""

BINS = 5
"""Sizes that are told apart."""
SIDES = ("in", "out")
"""Of the support of the training split."""


def quantity_of(what: str, side: str, number: int) -> str:
    """The name of the number: `effect`, `effect_error` or `size`, `in` or `out` of support, in a bin from 0.

    Examples:
        >>> quantity_of("effect", "in", 0)
        'effect_in_1'
    """
    return f"{what}_{side}_{number + 1}"
