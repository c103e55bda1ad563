"""What samples carry beside variables, where sources share the way it is made."""

from __future__ import annotations

from counterbench.catalog.cards import Card
from counterbench.datasets.source import Draws
from counterbench.errors import DataError

WORDS = "words"
"""Among what is hidden behind the samples: (N, at least as many as the grammar has choices), in [0, 1), how somebody words a caption."""


def phrases_of(card: Card, draws: Draws) -> list[str]:
    """The captions of some samples, each in the words of whoever wrote it.

    Raises:
        DataError: for a card without a grammar.
    """
    grammar = card.grammar
    if grammar is None:
        raise DataError(f"The captions of {card.name} have no grammar.")
    return grammar.say(draws.attributes, draws.hidden[WORDS][:, : grammar.choices])
