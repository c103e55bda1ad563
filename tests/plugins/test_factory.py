"""Options that a user wrote: unknown ones and wrong types are told apart, in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from counterbench.errors import ConfigError
from counterbench.plugins.factory import make, options_of


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
        ({"width": "x" * 1000}, r"the option width is 'xxx.{0,90}; input"),
        ({"pairs": [[float("inf")]]}, "finite number"),
        ({"width": -1}, r"It cannot be made with width=-1 \(a width below zero\)"),
    ],
)
def test_one_sentence_says_what_is_wrong(given, words):
    with pytest.raises(ConfigError, match=words):
        make("It", Thing, ("x",), given)


@dataclass(frozen=True)
class Context:
    device: str
    weights: str | None = None


class Placed:
    def __init__(self, first, *, scale: float = 1.0, device: str = "cpu"):
        self.scale, self.device = scale, device


def test_a_component_gets_what_it_names_of_its_context():
    made = make("It", Placed, ("x",), {"scale": 2}, context=Context("meta"))
    assert (made.scale, made.device) == (2.0, "meta")


def test_a_user_sets_no_context():
    with pytest.raises(ConfigError, match=r"It has no option 'device'\. Known: scale"):
        make("It", Placed, ("x",), {"device": "cuda"}, context=Context("meta"))


def test_what_is_pinned_must_be_taken():
    with pytest.raises(ConfigError, match="It takes no 'weights'"):
        make("It", Placed, ("x",), {}, context=Context("meta", "file"), needed=["weights"])


def test_a_component_that_hides_what_it_needs_is_told():
    with pytest.raises(ConfigError, match=r"takes \*\*options, .* each of device, weights that it uses"):
        make("It", Thing, ("x",), {}, context=Context("meta"))
