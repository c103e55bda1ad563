import threading
import time
import weakref
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch

from counterbench import datasets
from counterbench.catalog.cards import Card
from counterbench.datasets.celeba import CelebA
from counterbench.datasets.dataset import TRUTHS, Dataset, Split
from counterbench.datasets.source import Contents, Draws, FileSource, RenderedSource
from counterbench.errors import DataError
from counterbench.metrics.references import References

COUNT = 12


def card(**sources):
    declared = {
        name: {"description": "x", "licence": "none", "embedded": embedded} for name, embedded in sources.items()
    }
    return Card.model_validate(
        {
            "name": "lamps",
            "title": "Lamps",
            "description": "x",
            "reader": "lamps",
            "variables": {
                "light": {"kind": "continuous", "range": [0, 255]},
                "image": {"kind": "image", "shape": [1, 2, 2], "parents": ["light"], "intervenable": False},
            },
            "default_source": next(iter(sources)),
            "sources": declared,
        }
    )


class Drawn(RenderedSource):
    """Grey squares."""

    def __init__(self, card, name, data_dir):
        super().__init__(card, name, data_dir)
        self.rendered_rows = 0

    def draw(self, split):
        light = torch.linspace(0, 200, COUNT)
        return Draws({"light": light, "left out": light}, torch.arange(COUNT))

    def true_attributes(self, split, rows, interventions):
        return {"light": interventions["light"]}

    def render(self, split, rows, attributes):
        self.rendered_rows += len(rows)
        return attributes["light"].round().to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).contiguous()


class Filed(FileSource):
    """Volumes of two slices each: all that a source of other scans needs."""

    def find(self, split):
        files = sorted(self.data_dir.glob(f"{split}-*.npy"))
        light = torch.tensor([float(path.stem.split("-")[1]) for path in files])
        return Contents(files, {"light": light.repeat_interleave(2)}, torch.arange(len(files)).repeat_interleave(2))

    def key(self, contents):
        return f"lamps-{sum(path.stat().st_mtime_ns for path in contents.files)}"

    def decode(self, contents, split):
        return torch.cat([torch.from_numpy(np.load(path)) for path in contents.files])


class Lamps(Dataset):
    """A reader with two sources."""

    sources = MappingProxyType({"drawn": Drawn, "filed": Filed})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def drawn(cache):
    return Lamps(card(drawn=True))


def test_a_process_is_a_dataset_with_truth(drawn):
    test = drawn.split("test")
    assert set(test.values) == {"light", "image"}
    assert torch.equal(test.values["image"][:, 0, 0, 0], test.values["light"].round().to(torch.uint8))
    truth = drawn.truth("test", torch.tensor([3]), {"light": torch.tensor([50.0])})
    assert truth["image"].tolist() == [[[[50.0, 50.0], [50.0, 50.0]]]]
    with pytest.raises(DataError, match="needs no download: it is made here"):
        drawn.download()


def test_a_process_renders_once_and_a_part_alone(drawn, cache):
    assert len(drawn.reference(5)) == 5
    assert drawn.behind.rendered_rows == 5
    assert torch.equal(drawn.reference(5).values["light"], drawn.attributes("train")["light"][drawn.reference_rows(5)])
    again = Lamps(drawn.card)
    assert again.reference(5).fingerprint == drawn.reference(5).fingerprint
    assert again.behind.rendered_rows == 0
    assert len(drawn.reference(COUNT)) == len(drawn.reference(99)) == COUNT
    assert drawn.behind.rendered_rows == 5 + COUNT
    assert sorted(path.stem for path in cache.rglob("*.safetensors")) == ["reference-5", "train"]


def test_blocks_are_rendered_side_by_side_in_their_order(drawn, monkeypatch):
    monkeypatch.setattr("counterbench.datasets.source.processors", lambda: 3)
    monkeypatch.setattr(Drawn, "block", 2)
    render, threads = Drawn.render, set()

    def slow(self, split, rows, attributes):
        threads.add(threading.get_ident())
        time.sleep(0.01 * int(rows[0] == 2))
        return render(self, split, rows, attributes)

    monkeypatch.setattr(Drawn, "render", slow)
    train = drawn.split("train")
    assert torch.equal(train.values["image"][:, 0, 0, 0], train.values["light"].round().to(torch.uint8))
    assert len(threads) > 1


def test_a_part_of_what_is_cached_does_not_keep_the_whole(drawn):
    whole = drawn.split("train")
    again = Lamps(drawn.card)
    part = again.reference(5)
    assert torch.equal(part.values["image"], whole.values["image"][again.reference_rows(5)])
    assert not any(name == "train" for method, name in again._kept if method.endswith("split"))


def test_other_code_or_draws_are_rendered_anew(drawn):
    class Shifted(Drawn):
        def draw(self, split):
            draws = super().draw(split)
            return Draws({name: value + 1 for name, value in draws.attributes.items()}, draws.group)

    assert Shifted(drawn.card, "drawn", None).key("test") != drawn.behind.key("test")
    assert drawn.behind.key("test") == Lamps(drawn.card).behind.key("test")


def test_files_are_decoded_once_and_their_tables_need_no_pixels(tmp_path, cache, monkeypatch):
    for light in (10, 20):
        np.save(tmp_path / f"test-{light}.npy", np.full((2, 1, 2, 2), light, np.uint8))
    declared = card(filed=False)
    first = Lamps(declared, data_dir=tmp_path)
    assert first.split("test").values["image"][:, 0, 0, 0].tolist() == [10, 10, 20, 20]
    assert not first.knows_truth(["light"])
    with pytest.raises(DataError, match=r"no true counterfactual for do\(light\)"):
        first.truth("test", torch.tensor([0]), {"light": torch.tensor([1.0])})
    with pytest.raises(DataError, match=r"cannot be downloaded by a program"):
        first.download()
    monkeypatch.setattr(Filed, "decode", lambda *_: pytest.fail("decoded"))
    again = Lamps(declared, data_dir=tmp_path)
    assert again.attributes("test")["light"].tolist() == [10, 10, 20, 20]
    assert again.split("test").fingerprint == first.split("test").fingerprint


def test_a_source_that_nothing_is_behind_is_told():
    with pytest.raises(
        DataError, match=r"'lamps' yields nothing for the source 'elsewhere'; .* `sources`, or a method `split`"
    ):
        Lamps(card(elsewhere=True)).split("test")


class OfOneself(Dataset):
    """A reader that has methods instead of sources, and keeps nothing."""

    def __init__(self, card):
        super().__init__(card)
        self.calls = 0

    def split(self, name):
        self.calls += 1
        light = torch.linspace(0, 200, COUNT)
        return Split(
            name, {"light": light, "image": light[:, None, None, None].expand(-1, 1, 2, 2)}, torch.arange(COUNT)
        )


def test_what_a_reader_returns_is_kept():
    reader = OfOneself(card(mine=True))
    assert reader.split("test") is reader.split("test")
    assert reader.attributes("test").keys() == {"light"}
    reader.attributes("test").clear()  # a copy
    assert reader.attributes("test").keys() == {"light"}
    assert reader.calls == 1
    assert len(reader.reference(5)) == 5
    assert reader.calls == 2


def test_what_a_reader_makes_of_the_split_of_its_base_is_checked_too():
    class Wrong(OfOneself):
        def split(self, name):
            whole = super().split(name)
            return Split(name, {**whole.values, "light": whole.values["light"] / 0}, whole.group)

    with pytest.raises(DataError, match="NaN or infinite"):
        Wrong(card(mine=True)).split("test")


def test_the_same_question_is_rendered_once(drawn):
    rows, held = torch.arange(3), {"light": torch.tensor([1.0, 2.0, 3.0])}
    first = drawn.truth("test", rows, held)
    again = drawn.truth("test", rows.clone(), {"light": held["light"].clone()})
    assert again is not first
    assert again["image"] is first["image"]
    assert drawn.behind.rendered_rows == 3
    for split, index, values in (
        ("train", rows, held),
        ("test", rows + 1, held),
        ("test", rows, {"light": held["light"] + 1}),
        ("test", rows[:2], {"light": held["light"][:2]}),
    ):
        assert drawn.truth(split, index, values)["image"] is not first["image"]
    with torch.inference_mode():
        inside = drawn.truth("test", rows, held)["image"]
    assert inside.is_inference()
    assert not drawn.truth("test", rows, held)["image"].is_inference()


def test_only_the_last_few_answers_are_kept(drawn):
    rows = torch.arange(1)
    for level in range(TRUTHS + 5):
        drawn.truth("test", rows, {"light": torch.tensor([float(level)])})
    asked = drawn.behind.rendered_rows
    drawn.truth("test", rows, {"light": torch.tensor([float(TRUTHS + 4)])})
    assert drawn.behind.rendered_rows == asked
    drawn.truth("test", rows, {"light": torch.tensor([0.0])})
    assert drawn.behind.rendered_rows == asked + 1


class Space:
    """A feature space that looks at one pixel."""

    title = fingerprint = "pixel"

    def extract(self, images):
        return images[:, 0, :1, 0].float()


def use(dataset):
    """Ask for everything that a dataset keeps."""
    rows = torch.arange(2)
    dataset.split("test")
    dataset.attributes("train")
    references = References(dataset, 6)
    for name in dataset.card.attributes:
        references.grouping(name)
    if dataset.card.image:
        references.features(Space())
    else:
        dataset.reference(6)
    factual = dataset.split("test").take(rows)
    name = next(name for name in dataset.card.intervenable if dataset.knows_truth([name]))
    dataset.truth("test", rows, {name: factual[name].flip(0)})
    return weakref.ref(references)


@pytest.mark.parametrize("name", ["adni", "celeba-complex", "ellipse", "morphomnist", "lamps", "toy"])
def test_a_dataset_that_is_dropped_is_freed_with_all_that_it_kept(name, toy):
    dataset = Lamps(card(drawn=True)) if name == "lamps" else datasets.load(name)
    kept = [weakref.ref(dataset), weakref.ref(dataset.split("test")), weakref.ref(dataset.behind), use(dataset)]
    kept.append(weakref.ref(dataset.reference(6)))
    del dataset
    assert [reference() for reference in kept] == [None] * len(kept)


def test_cards_that_share_people_share_their_pixels(cache):
    simple, complex_ = (datasets.load(name) for name in ("celeba-simple", "celeba-complex"))
    assert isinstance(simple, CelebA)
    assert torch.equal(simple.reference(4).values["image"], complex_.reference(4).values["image"])
    assert len(list(Path(cache).rglob("*.safetensors"))) == 1
    assert set(simple.reference(4).values) == {*simple.card.attributes, "image"}
    assert set(complex_.reference(4).values) == {*complex_.card.attributes, "image"}
