"""The YAML of declarations: plain data of a bounded size."""

import pytest

from counterbench.catalog.plain_yaml import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8e-2", 0.08),
        ("1e5", 1e5),
        ("-1.5E+3", -1500.0),
        (".5e1", 5.0),
        ("1.5", 1.5),
        ("7", 7),
        ("1_000", 1000),
        ("08", "08"),
        ("e5", "e5"),
        ("1e", "1e"),
        ("12e3abc", "12e3abc"),
        ("2020-01-01", "2020-01-01"),
        ("2020-13-45", "2020-13-45"),
        ("12:30", "12:30"),
        ("yes", True),
        ("~", None),
        ("", None),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: &x {p: 1}\nb: {<<: *x, q: 2}", {"a": {"p": 1}, "b": {"p": 1, "q": 2}}),
    ],
)
def test_words_and_numbers(text, value):
    found = parse(text)
    assert found == value
    assert type(found) is type(value)


BOMB = (
    "a: &a ["
    + ",".join("x" * 10)
    + "]\n"
    + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "more than 100,000 things when its aliases are written out"),
        ("a: &a [*a]", "more than 50 deep"),
        ("[" * 3000, "more than 50 deep"),
        ("[" * 60 + "]" * 60, "more than 50 deep"),
        ("!!timestamp x", "tags are not read"),
        ("!!bool x", "tags are not read"),
        ("!!int x", "tags are not read"),
        ("!!python/name:os.getcwd", "tags are not read"),
        ("a: 1\na: 2", "line 2, column 1: a key is there twice"),
        ("9" * 6000, "digits"),
        ("a\0b", "special characters"),
        ("{[a]: b}", "unhashable"),
        ("--- 1\n--- 2", "another document"),
    ],
)
def test_what_is_not_plain_data_is_told_in_one_sentence(text, words):
    with pytest.raises(ValueError, match=words) as caught:
        parse(text)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)
