"""Phrases about a sample, from a small grammar: what a radiologist might have written, and the numbers of its words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from counterbench.causal.variables import Binary, Categorical, Variable
from counterbench.errors import ConfigError, short, suggestion

_SLOT = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Wording:
    """How some values of a variable are said.

    Args:
        words: that say the same, the usual one first.
        value: the class, of a variable with classes.
        to: the largest value that is called so, of a quantity; None for all that are larger.

    Examples:
        >>> Wording(("small", "little"), to=4).words[0]
        'small'
    """

    words: tuple[str, ...]
    value: str | None = None
    to: float | None = None


@dataclass(frozen=True)
class Sentence:
    """Ways to say the same.

    Args:
        patterns: text with {names} of variables, the usual one first.
        when: variable -> its class; the first sentence that fits is taken.

    Examples:
        >>> Sentence(("a {size} {lesion}",), {"lesion": "1"}).patterns
        ('a {size} {lesion}',)
    """

    patterns: tuple[str, ...]
    when: Mapping[str, str]


class Grammar:
    """Says values of variables in words.

    Args:
        variables: of the dataset.
        words: variable -> how its values are said.
        sentences: in the order in which they are tried.
        vocabulary: every word; its place, counted from 1, is its number.
        subject: the variable whose words name what a phrase is about; empty for none.

    Raises:
        ConfigError: for a value without words, a word that is not in the vocabulary, or what names no variable.

    Examples:
        >>> side = Categorical("side", classes=("left", "right"))
        >>> grammar = Grammar(
        ...     {"side": side}, {"side": [Wording(("left",), "left"), Wording(("right",), "right")]},
        ...     sentences=[Sentence(("lesion on the {side}", "{side} lesion"), {})], vocabulary=["lesion", "on", "the", "left", "right"],
        ... )
        >>> values = {"side": torch.tensor([0, 1])}
        >>> grammar.say(values), grammar.say(values, torch.tensor([[0.9, 0.9], [0.0, 0.0]]))
        (['lesion on the left', 'lesion on the right'], ['left lesion', 'lesion on the right'])
        >>> grammar.tokens(["left lesion"]).tolist(), grammar.length
        ([[4, 1, 0, 0, 0]], 5)
    """

    def __init__(
        self,
        variables: Mapping[str, Variable],
        words: Mapping[str, Sequence[Wording]],
        *,
        sentences: Sequence[Sentence],
        vocabulary: Sequence[str],
        subject: str = "",
    ):
        self.words, self.sentences = {name: tuple(listed) for name, listed in words.items()}, tuple(sentences)
        self.vocabulary = tuple(vocabulary)
        self.number = {word: place for place, word in enumerate(self.vocabulary, start=1)}
        if unknown := [name for name in self.words if name not in variables]:
            raise ConfigError(f"The grammar has words for {short(unknown[0])}.{suggestion(unknown[0], variables)}")
        if subject and subject not in self.words:
            raise ConfigError(f"The subject of the grammar is {short(subject)}.{suggestion(subject, self.words)}")
        self.subject = subject
        self.variables = {name: variables[name] for name in self.words}
        self._check()

    def _check(self) -> None:
        for name, listed in self.words.items():
            variable = self.variables[name]
            if classes := _classes(variable):
                missing = set(classes) - {wording.value for wording in listed}
                if missing:
                    raise ConfigError(f"The grammar has no words for {name} = {sorted(missing)[0]}.")
            elif not listed:
                raise ConfigError(f"The grammar has no words for {name}.")
            elif [wording.to for wording in listed][-1] is not None:
                raise ConfigError(f"The grammar has no words for large values of {name}; leave out `to` of the last.")
        for sentence in self.sentences:
            for name in (*sentence.when, *(slot for pattern in sentence.patterns for slot in _SLOT.findall(pattern))):
                if name not in self.words:
                    raise ConfigError(f"A sentence names {short(name)}.{suggestion(name, self.words)}")
            for name, wanted in sentence.when.items():
                if wanted not in (said := [wording.value for wording in self.words[name]]):
                    raise ConfigError(
                        f"A sentence is said when {name} = {short(wanted)}.{suggestion(wanted, [one for one in said if one])}"
                    )
        if not self.sentences or self.sentences[-1].when:
            raise ConfigError("The last sentence of the grammar must fit everybody: leave out its `when`.")
        for word in self._every_word():
            if word not in self.number:
                raise ConfigError(f"The grammar says {short(word)}, which is not in its vocabulary.")

    def _every_word(self) -> list[str]:
        fixed = [_SLOT.sub(" ", pattern) for sentence in self.sentences for pattern in sentence.patterns]
        said = [word for listed in self.words.values() for wording in listed for word in wording.words]
        return [word for text in (*fixed, *said) for word in text.split()]

    @cached_property
    def choices(self) -> int:
        """How many choices one phrase takes: of the pattern, and of the word for every variable."""
        return 1 + len(self.words)

    @cached_property
    def length(self) -> int:
        """Places for words: one more than the longest phrase has, so that there is always one without."""
        longest = {
            name: max(len(word.split()) for wording in listed for word in wording.words)
            for name, listed in self.words.items()
        }
        return 1 + max(
            len(_SLOT.sub(" ", pattern).split()) + sum(longest[name] for name in _SLOT.findall(pattern))
            for sentence in self.sentences
            for pattern in sentence.patterns
        )

    def say(self, values: Mapping[str, Tensor], chance: Tensor | None = None) -> list[str]:
        """A phrase about every sample.

        Args:
            values: natural values of the variables that there are words for, (N,) each.
            chance: (N, choices), in [0, 1): which of the ways to say it; None for the usual one.

        Returns:
            N phrases.
        """
        count = len(next(iter(values.values())))
        drawn = torch.zeros(count, self.choices) if chance is None else chance
        numbers = {name: values[name].reshape(count, -1)[:, 0].tolist() for name in self.words}
        return [
            self._phrase({name: listed[row] for name, listed in numbers.items()}, drawn[row].tolist())
            for row in range(count)
        ]

    def _phrase(self, values: Mapping[str, float], chance: Sequence[float]) -> str:
        wordings = {name: self._wording(name, value) for name, value in values.items()}
        sentence = next(
            one for one in self.sentences if all(wordings[name].value == wanted for name, wanted in one.when.items())
        )
        said = {name: _one_of(wordings[name].words, share) for name, share in zip(self.words, chance[1:], strict=True)}
        return _one_of(sentence.patterns, chance[0]).format(**said)

    def _wording(self, name: str, value: float) -> Wording:
        variable, listed = self.variables[name], self.words[name]
        if classes := _classes(variable):
            wanted = classes[round(value)]
            return next(wording for wording in listed if wording.value == wanted)
        return next(wording for wording in listed if wording.to is None or value <= wording.to)

    def tokens(self, phrases: Sequence[str]) -> Tensor:
        """The numbers of their words, (N, length), long, 0 after the last.

        Raises:
            ConfigError: for a word that is not in the vocabulary, or a phrase that is too long or empty.
        """
        found = torch.zeros(len(phrases), self.length, dtype=torch.long)
        for row, phrase in enumerate(phrases):
            words = phrase.lower().replace(",", " ").replace(".", " ").split()
            if not 0 < len(words) < self.length:
                raise ConfigError(
                    f"The phrase {short(phrase)} has {len(words)} words; give 1 to {self.length - 1}, such as "
                    f"{self.sentences[-1].patterns[0]!r}."
                )
            for place, word in enumerate(words):
                if word not in self.number:
                    raise ConfigError(
                        f"The phrase {short(phrase)} has the word {short(word)}, which this dataset has never seen; its words are: "
                        f"{', '.join(self.vocabulary)}."
                    )
                found[row, place] = self.number[word]
        return found

    def counts(self, tokens: Tensor, which: str = "all") -> Tensor:
        """Which of the words of phrases count, (N, length), bool.

        Args:
            tokens: (N, length), numbers of words.
            which: `all`, or `subject` for the words that name what a phrase is about; of a phrase without any, all.
        """
        said = tokens > 0
        if which == "all" or not self.subject:
            return said
        names = {part for wording in self.words[self.subject] for word in wording.words for part in word.split()}
        numbers = torch.tensor(sorted(self.number[name] for name in names), device=tokens.device)
        named = torch.isin(tokens, numbers)
        return torch.where(named.any(1, keepdim=True), named, said)


def _classes(variable: Variable) -> tuple[str, ...]:
    """Names of the classes of a variable; none of a quantity."""
    if isinstance(variable, Binary):
        return ("0", "1")
    return variable.classes if isinstance(variable, Categorical) else ()


def _one_of(listed: Sequence[str], share: float) -> str:
    return listed[min(int(share * len(listed)), len(listed) - 1)]
