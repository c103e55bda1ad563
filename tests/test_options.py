"""Options that a user wrote: unknown ones and wrong types are told apart, in one sentence."""

from collections.abc import Sequence

import pytest

from counterbench.errors import ConfigError
from counterbench.options import make, options_of


class Thing:
    def __init__(self, first, width: int = 3, names: Sequence[str] = (), pairs: Sequence[Sequence[float]] = (), **more):
        if width < 0:
            raise ValueError("a width below zero")
        self.width, self.names = width, names


def test_options_are_what_follows_the_positional_ones():
    assert options_of(Thing, 1) == {"width": 3, "names": (), "pairs": ()}


def test_it_is_made():
    assert make("It", Thing, ("x",), {"width": 4, "names": ["a"]}).width == 4


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"widht": 1}, "It has no option 'widht'. Did you mean 'width'?"),
        ({"width": "wide"}, "the option width is 'wide'; input should be a valid integer"),
        ({"names": "judge"}, "the option names is 'judge'; .*str"),
        ({"pairs": 0.5}, "the option pairs is 0.5;"),
        ({"pairs": [[1], ["x"]]}, r"the option pairs\[1\]\[0\] is 'x';"),
        ({"width": -1}, r"It cannot be made with width=-1 \(a width below zero\)"),
    ],
)
def test_one_sentence_says_what_is_wrong(given, words):
    with pytest.raises(ConfigError, match=words):
        make("It", Thing, ("x",), given)
