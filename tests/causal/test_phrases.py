"""Phrases: what is said of values, and the numbers of its words."""

import pytest
import torch

from counterbench.causal.phrases import Grammar, Sentence, Wording
from counterbench.causal.variables import Binary, Categorical, Continuous
from counterbench.datasets.loading import card
from counterbench.errors import ConfigError

VARIABLES = {
    "lesion": Binary("lesion"),
    "side": Categorical("side", ("left", "right")),
    "size": Continuous("size", 0, 10, "mm"),
}
WORDS = {
    "lesion": [Wording(("normal",), "0"), Wording(("lesion", "defect"), "1")],
    "side": [Wording(("left",), "left"), Wording(("right",), "right")],
    "size": [Wording(("small", "little"), to=4), Wording(("large",))],
}
SENTENCES = [Sentence(("{lesion} matter",), {"lesion": "0"}), Sentence(("a {size} {lesion}", "{side} {lesion}"), {})]
VOCABULARY = ["a", "matter", "normal", "lesion", "defect", "left", "right", "small", "little", "large"]


def grammar(**changes):
    known = {"words": WORDS, "sentences": SENTENCES, "vocabulary": VOCABULARY, "subject": "lesion", **changes}
    return Grammar(VARIABLES, known.pop("words"), **known)


def values(**of):
    return {name: torch.tensor(listed) for name, listed in of.items()}


def test_the_first_sentence_that_fits_is_said_in_words_that_chance_chooses():
    said = grammar()
    about = values(lesion=[0, 1, 1], side=[0, 1, 1], size=[9.0, 4.0, 4.1])
    assert said.say(about) == ["normal matter", "a small lesion", "a large lesion"]
    chance = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.99, 0.0, 0.0, 0.9], [0.0, 0.99, 0.0, 0.0]])
    assert said.say(about, chance) == ["normal matter", "right lesion", "a large defect"]


def test_words_have_numbers_and_one_place_is_always_silent():
    said = grammar()
    assert said.length == 4
    assert said.tokens(["A small lesion.", "left defect"]).tolist() == [[1, 8, 4, 0], [6, 5, 0, 0]]


def test_the_subject_of_a_phrase():
    said = grammar()
    tokens = said.tokens(["a small defect", "left"])
    assert said.counts(tokens).tolist() == [[True, True, True, False], [True, False, False, False]]
    # A phrase that names none counts as a whole.
    assert said.counts(tokens, "subject").tolist() == [[False, False, True, False], [True, False, False, False]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"words": {**WORDS, "sid": WORDS["side"]}}, "Did you mean 'side'"),
        ({"words": {**WORDS, "side": WORDS["side"][:1]}}, "no words for side = right"),
        ({"words": {**WORDS, "size": WORDS["size"][:1]}}, "no words for large values of size"),
        ({"sentences": SENTENCES[:1]}, "must fit everybody"),
        ({"sentences": [Sentence(("{sice}",), {})]}, "names 'sice'"),
        ({"vocabulary": VOCABULARY[1:]}, "says 'a', which is not in its vocabulary"),
        ({"subject": "lesoin"}, "Did you mean 'lesion'"),
    ],
)
def test_what_does_not_fit_together_is_told(changes, said):
    with pytest.raises(ConfigError, match=said):
        grammar(**changes)


@pytest.mark.parametrize(
    ("phrase", "said"), [("a tumour", "'tumour', which this"), ("", "0 words"), ("a a a a", "4 words; give 1 to 3")]
)
def test_a_phrase_that_cannot_be_read_is_told(phrase, said):
    with pytest.raises(ConfigError, match=said):
        grammar().tokens([phrase])


@pytest.mark.parametrize("name", ["morphomnist-lesions", "adni-lesions"])
def test_every_phrase_of_a_card_can_be_read(name):
    declared = card(name)
    said, variables = declared.grammar, declared.build_variables()
    chance = torch.rand(400, 16, generator=torch.Generator().manual_seed(0))
    about = {
        key: (
            chance[:, 10 + place % 6] * (variables[key].cardinality if hasattr(variables[key], "cardinality") else 1)
        ).long()
        for place, key in enumerate(said.words)
    }
    phrases = said.say(about, chance[:, : said.choices])
    assert len(set(phrases)) > 20
    tokens = said.tokens(phrases)
    assert (tokens[:, -1] == 0).all()
    assert (tokens.max(0).values[0] > 0).all()
