import pytest
import torch

from counterbench.catalog.cards import Card
from counterbench.catalog.suites import find_suite
from counterbench.causal.variables import Continuous
from counterbench.datasets.dataset import Dataset, Split, plausible_range
from counterbench.errors import DataError
from counterbench.plans.drawing import draw

COUNT = 40


def card(embedded):
    source = {"description": "x", "licence": "none", "embedded": embedded}
    variables = {
        "age": {"kind": "continuous", "range": [50, 90], "unit": "years"},
        "kind": {"kind": "categorical", "classes": ["oak", "elm"]},
        "image": {"kind": "image", "shape": [1, 2, 2], "parents": ["age", "kind"], "intervenable": False},
    }
    return Card.model_validate(
        {
            "name": "trees",
            "title": "Trees",
            "description": "x",
            "reader": "none",
            "variables": variables,
            "default_source": "files",
            "sources": {"files": source},
        }
    )


class Reader(Dataset):
    """Somebody's reader, which checks nothing."""

    def __init__(self, name, value, embedded=False):
        super().__init__(card(embedded))
        self.odd = (name, value)

    def split(self, name):
        values = self.attributes(name)
        return Split(
            name, {**values, "image": torch.zeros(len(values["age"]), 1, 2, 2)}, torch.arange(len(values["age"]))
        )

    def attributes(self, name):
        values = {"age": torch.full((COUNT,), 60.0), "kind": torch.arange(COUNT) % 2}
        variable, value = self.odd
        if value is None:
            return {key: kept for key, kept in values.items() if key != variable}
        values[variable] = values[variable].clone()
        values[variable][3] = value
        return values


class OnlySplit(Reader):
    """Another, which leaves the attributes to the class above."""

    def split(self, name):
        return Split(name, {**Reader.attributes.__wrapped__(self, name)}, torch.arange(COUNT))

    attributes = Dataset.attributes


WRONG = [
    ("age", torch.nan, "age: 1 of 40 values are NaN or infinite"),
    ("age", torch.inf, "age: 1 of 40 values are NaN or infinite"),
    ("age", 0.0, r"age of sample 3 is 0 years, far outside the card's range 50 to 90 \(1 of 40 are\)"),
    ("age", 999.0, "age of sample 3 is 999 years, far outside"),
    ("kind", 2, "kind: 1 of 40 values are not classes"),
    ("kind", -1, "kind: 1 of 40 values are not classes"),
    ("kind", None, "there are no values of 'kind'"),
]


@pytest.mark.parametrize("reader", [Reader, OnlySplit])
@pytest.mark.parametrize("method", ["split", "attributes"])
@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_whatever_a_reader_returns_is_checked(reader, method, name, value, message):
    with pytest.raises(DataError, match=rf"^trees/files, split 'test'(:| is) ?{message}"):
        getattr(reader(name, value), method)("test")


def test_nothing_impossible_reaches_a_plan():
    with pytest.raises(DataError, match="split 'test': age: 1 of 40 values are NaN"):
        draw(Reader("age", torch.nan), find_suite("quick"), seed=0)


def test_what_lies_a_little_outside_and_what_is_made_here_is_legal():
    assert len(Reader("age", 45.0).split("test")) == COUNT
    assert len(Reader("age", 999.0, embedded=True).split("test")) == COUNT
    with pytest.raises(DataError, match="NaN"):
        Reader("age", torch.nan, embedded=True).split("test")


def test_an_empty_split_is_told():
    reader = Reader("age", 60.0)
    reader.attributes = lambda name: {"age": torch.zeros(0), "kind": torch.zeros(0, dtype=torch.long)}
    with pytest.raises(DataError, match="split 'test' is empty"):
        reader.split("test")


def test_plausible_ranges():
    assert plausible_range(Continuous("x", -4, 4)) == (-8, 8)
    assert plausible_range(Continuous("x", 0, 30)) == (-15, 45)
    assert plausible_range(Continuous("volume", 5, 145)) == (2.5, 215)
    assert plausible_range(Continuous("brain", 650, 1400)) == (325, 1775)
