import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from counterbench import datasets
from counterbench.datasets.table import TableDataset
from counterbench.errors import ConfigError, DataError

CARD = """
name: leaves
title: Leaves
description: leaves that wilt
reader: table
variables:
  age: {{kind: continuous, range: [0, 30], unit: days}}
  kind: {{kind: categorical, classes: [oak, elm]}}
  wet: {{kind: binary}}
  image: {{kind: image, shape: {shape}, parents: [age, kind, wet], intervenable: false}}
default_source: mine
sources:
  mine:
    embedded: false
    description: mine
    licence: mine
    table: {table}
"""
TABLE = "{csv: leaves.csv, images: pictures, columns: {age: days, group: tree}}"
HEADER = ["file", "days", "kind", "wet", "tree"]


def write(folder, count=60, size=(16, 16), shape="[1, 16, 16]", table=TABLE):
    """A folder of images and a CSV, as a user would have them."""
    (folder / "pictures").mkdir(parents=True)
    rows = []
    for number in range(count):
        name = f"leaf {number}.png"
        Image.fromarray(np.full((*size, 3), number, np.uint8)).save(folder / "pictures" / name)
        rows.append([name, number % 30, ["oak", "elm"][number % 2], ["yes", "0"][number % 2], f"tree {number // 2}"])
    save(folder, HEADER, rows)
    (folder / "leaves.yaml").write_text(CARD.format(shape=shape, table=table))
    return rows


def save(folder, header, rows):
    with (folder / "leaves.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_folder_and_a_table_are_a_dataset(folder):
    write(folder)
    dataset = datasets.load(str(folder / "leaves.yaml"))
    splits = [dataset.split(name) for name in dataset.splits]
    assert sum(len(split) for split in splits) == 60
    groups = [set(split.group.tolist()) for split in splits]
    assert sum(len(group) for group in groups) == len(set().union(*groups)) == 30
    for split in splits:
        pixel = split.values["image"][:, 0, 0, 0].long()
        assert split.values["image"].shape[1:] == (1, 16, 16)
        assert torch.equal(split.values["age"], (pixel % 30).float())
        assert torch.equal(split.values["kind"], pixel % 2)
        assert torch.equal(split.values["wet"], 1 - pixel % 2)
        assert torch.equal(split.group, pixel // 2)


def test_new_rows_move_no_old_ones(folder):
    rows = write(folder)
    before = datasets.load(str(folder / "leaves.yaml")).split("test").values["image"][:, 0, 0, 0].tolist()
    shutil.copy(folder / "pictures" / rows[0][0], folder / "pictures" / "new.png")
    save(folder, HEADER, [["new.png", 3, "oak", 1, "another tree"], *rows])
    after = datasets.load(str(folder / "leaves.yaml")).split("test").values["image"][:, 0, 0, 0].tolist()
    assert [pixel for pixel in after if pixel] == [pixel for pixel in before if pixel]


def test_data_may_lie_elsewhere(folder, monkeypatch):
    write(folder / "here")
    monkeypatch.setenv("COUNTERBENCH_DATA", str(folder))  # set for other datasets
    assert len(datasets.load(str(folder / "here" / "leaves.yaml")).split("train"))
    (folder / "here" / "leaves.yaml").rename(folder / "leaves.yaml")
    assert len(datasets.load(str(folder / "leaves.yaml"), None, data_dir=folder / "here").split("train"))


def test_splits_of_the_table_are_kept(folder):
    rows = write(folder)
    where = ["train", "train", "validation", "judge", "test", "test"]
    save(folder, [*HEADER, "split"], [[*row, where[number // 10]] for number, row in enumerate(rows)])
    dataset = datasets.load(str(folder / "leaves.yaml"))
    assert [len(dataset.split(name)) for name in dataset.splits] == [20, 10, 10, 20]


def test_larger_images_are_reduced_and_colours_kept(folder):
    write(folder, size=(64, 64), shape="[3, 16, 16]")
    image = datasets.load(str(folder / "leaves.yaml")).split("train").values["image"]
    assert image.shape[1:] == (3, 16, 16)
    assert (image.flatten(1) == image[:, 0, 0, :1]).all()


def change(column, value, row=4):
    def damage(folder, rows):
        rows[row][HEADER.index(column)] = value
        save(folder, HEADER, rows)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("days", "31"), r"line 6: age is 31, outside the card's range 0 to 30"),
        (change("days", "nan"), r"line 6: age is nan, outside"),
        (change("days", "old"), r"line 6: 'old' is no number; age is in days"),
        (change("kind", "ash"), r"line 6: 'ash' is no class of kind; its classes are: oak, elm"),
        (change("wet", "maybe"), r"line 6: 'maybe' is no class of wet"),
        (change("file", "lost.png"), r"line 6: there is no image .*lost\.png"),
        (lambda f, r: (f / "leaves.csv").unlink(), r"leaves\.csv cannot be read"),
        (lambda f, r: (f / "leaves.csv").write_text(""), "needs a first line"),
        (lambda f, r: save(f, HEADER, [*r, ["x"]]), "line 62 has 1 entries; the first line names 5"),
        (lambda f, r: save(f, ["file", "day", *HEADER[2:]], r), r"has no column 'days' \(for age\)"),
        (lambda f, r: save(f, [*HEADER, "split"], [[*row, "tset"] for row in r]), "'tset' is no split.* Did you mean"),
        (
            lambda f, r: save(f, [*HEADER, "split"], [[*row, ("train", "test")[n % 2]] for n, row in enumerate(r)]),
            "the group 'tree 0' is in 'train' and in 'test'",
        ),
        (lambda f, r: save(f, [*HEADER, "split"], [[*row, "test"] for row in r]), "no row in the split 'train'"),
        (change("tree", ""), "line 6: the group is empty"),
        (
            lambda f, r: save(f, HEADER, [[r[0][0], *row[1:]] for row in r]),
            r"the image '.*leaf 0\.png' is in '\w+' and in '\w+'",
        ),
        (
            lambda f, r: (f / "leaves.csv").write_text((f / "leaves.csv").read_text().replace("\n", "\n\n") + "x\n"),
            "line 123 has 1 entries",
        ),
        (lambda f, r: Image.new("RGBA", (16, 16)).save(f / "pictures/leaf 0.png"), "has transparent pixels"),
        (lambda f, r: (f / "pictures/leaf 0.png").write_bytes(b"x"), r"leaf 0\.png is no image"),
        (lambda f, r: Image.new("L", (16, 20)).save(f / "pictures/leaf 0.png"), "is 16 x 20 pixels"),
    ],
)
def test_what_is_wrong_is_said_plainly(folder, damage, message):
    damage(folder, write(folder))
    dataset = datasets.load(str(folder / "leaves.yaml"))
    with pytest.raises(DataError, match=message):
        for name in dataset.splits:
            dataset.split(name)


def test_a_card_without_the_key_or_with_an_unknown_column_is_an_error(folder):
    write(folder / "a", table="null")
    with pytest.raises(ConfigError, match=r"needs the key sources\.mine\.table"):
        datasets.load(str(folder / "a" / "leaves.yaml")).split("train")
    write(folder / "b", table="{csv: leaves.csv, columns: {agee: days}}")
    with pytest.raises(ConfigError, match=r"'agee' is no variable.* Did you mean"):
        datasets.load(str(folder / "b" / "leaves.yaml")).split("train")


def test_a_declared_column_must_be_there(folder):
    """A misspelt group would let subjects leak from training into the test."""
    write(folder, table="{csv: leaves.csv, images: pictures, columns: {age: days, group: tre}}")
    with pytest.raises(DataError, match=r"has no column 'tre' \(for group\); its columns are: file, days"):
        datasets.load(str(folder / "leaves.yaml")).split("test")


def test_pictures_of_more_than_eight_bits_are_refused(folder):
    """Pillow would clip them to white without a word."""
    write(folder)
    for path in (folder / "pictures").glob("*.png"):
        Image.fromarray(np.full((16, 16), 4000, np.uint16)).save(path)
    with pytest.raises(DataError, match="more than 8 bits; reduce them to grey levels 0 to 255 yourself"):
        datasets.load(str(folder / "leaves.yaml")).split("test")


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_pictures_of_several_frames_are_refused(folder, kind):
    write(folder)
    frames = [Image.fromarray(np.full((16, 16), level, np.uint8)) for level in (10, 90)]
    for path in (folder / "pictures").glob("*.png"):
        frames[0].save(path, format=kind, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"leaf \d+\.png holds 2 pictures, of which only the first would be seen"):
        datasets.load(str(folder / "leaves.yaml")).split("test")


def test_colours_do_not_become_grey_levels_without_a_word(folder):
    write(folder)
    Image.new("RGB", (16, 16), (10, 20, 30)).save(folder / "pictures" / "leaf 0.png")
    with pytest.raises(DataError, match=r"leaf 0\.png has colours; expected one channel"):
        for name in TableDataset.splits:
            datasets.load(str(folder / "leaves.yaml")).split(name)
