"""A card is drafted from a table and a folder of images."""

import numpy as np
import PIL.Image
import pytest
import yaml
from click.testing import CliRunner

from counterbench import datasets
from counterbench.cli import main


@pytest.fixture
def leaves(tmp_path, monkeypatch):
    """Seventy pictures with a table of every kind of column."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    generator = np.random.default_rng(0)
    lines = ["picture,Age (days),kind,wet,patient_id,note,remark,grade,hole"]
    for number in range(70):
        PIL.Image.fromarray(np.full((16, 12, 3), number, np.uint8)).save(tmp_path / "pictures" / f"{number}.png")
        entries = [
            f"{number}.png",
            f"{generator.uniform(1, 29):.2f}",
            ["oak", "elm"][number % 2],
            ["no", "yes"][number % 3 == 0],
        ]
        lines.append(
            ",".join(
                [*entries, f"p{number // 2}", "same", f"text {number}", str(number % 4), "" if number == 3 else "1"]
            )
        )
    (tmp_path / "leaves.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def drafted(*words):
    return CliRunner().invoke(main, ["new", "dataset", "leaves", *words])


def test_kinds_ranges_and_groups_are_those_of_the_table(leaves):
    done = drafted("--csv", "leaves.csv", "--images", "pictures")
    assert done.exit_code == 0, done.output
    text = (leaves / "leaves.yaml").read_text()
    card = yaml.safe_load(text)
    variables = card["variables"]
    assert set(variables) == {"Age_days", "kind", "wet", "grade", "image"}
    assert variables["Age_days"]["kind"] == "continuous"
    assert variables["Age_days"]["range"] == [0, 30]
    assert variables["kind"] == {"kind": "categorical", "classes": ["elm", "oak"], "parents": []}
    assert variables["wet"]["kind"] == "binary"
    assert variables["grade"]["classes"] == ["0", "1", "2", "3"]
    assert variables["image"]["shape"] == [3, 16, 12]
    assert variables["image"]["parents"] == ["Age_days", "kind", "wet", "grade"]
    assert card["sources"]["mine"]["table"]["columns"] == {
        "Age_days": "Age (days)",
        "group": "patient_id",
        "image": "picture",
    }
    for told in (
        "note: left out",
        "remark: left out, it has 70 different texts",
        "hole: left out, 1 of 70 rows say nothing",
        "grade: 4 whole numbers",
    ):
        assert told in text
    assert "counterbench train-judges --dataset" in done.stderr


def test_the_draft_is_a_dataset_whose_groups_stay_together(leaves):
    drafted("--csv", "leaves.csv", "--images", "pictures")
    dataset = datasets.load(str(leaves / "leaves.yaml"))
    splits = [dataset.split(name) for name in dataset.splits]
    assert sum(map(len, splits)) == 70
    people = [set(split.group.tolist()) for split in splits]
    assert sum(map(len, people)) == len(set.union(*people)) == 35
    first = dataset.split("train").take(slice(0, 1))
    assert 1 <= float(first["Age_days"]) <= 29
    assert tuple(first["image"].shape) == (1, 3, 16, 12)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--csv", "leaves.csv"), "--csv FILE and --images FOLDER go together"),
        (("--csv", "leaves.csv", "--images", "."), "no column names files in ."),
        (("--csv", "none.csv", "--images", "pictures"), "none.csv cannot be read"),
    ],
)
def test_a_mistake_is_told(leaves, words, said):
    done = drafted(*words)
    assert done.exit_code == 1
    assert said in done.stderr
    assert not (leaves / "leaves.yaml").exists()


def test_nothing_is_replaced_and_a_table_without_attributes_is_refused(leaves):
    (leaves / "leaves.yaml").write_text("mine")
    assert "is there already" in drafted("--csv", "leaves.csv", "--images", "pictures").stderr
    assert (leaves / "leaves.yaml").read_text() == "mine"
    (leaves / "leaves.yaml").unlink()
    (leaves / "bare.csv").write_text("file\n1.png\n2.png\n")
    assert "no column that could be an attribute" in drafted("--csv", "bare.csv", "--images", "pictures").stderr


def table(home, header, *rows):
    """Seventy rows with these entries in turn, beside seventy pictures."""
    lines = [",".join([f"{number}.png", *rows[number % len(rows)]]) for number in range(70)]
    (home / "t.csv").write_text("\n".join([f"file,{header}", *lines]) + "\n", encoding="utf-8")
    done = drafted("--csv", "t.csv", "--images", "pictures")
    return done, (leaves := home / "leaves.yaml").exists() and yaml.safe_load(leaves.read_text(encoding="utf-8"))


@pytest.mark.parametrize("header", ["group,patient_id", "patient_id,group"])
def test_a_diagnosis_called_group_is_an_attribute_beside_a_patient(leaves, header):
    rows = [(("AD", "CN")[number % 2], f"p{number}") for number in range(70)]
    rows = rows if header.startswith("group") else [row[::-1] for row in rows]
    done, card = table(leaves, header, *rows)
    assert done.exit_code == 0, done.output
    assert card["variables"]["group_2"]["classes"] == ["AD", "CN"]
    assert card["sources"]["mine"]["table"]["columns"] == {"group_2": "group", "group": "patient_id"}


def test_names_that_become_alike_stay_apart(leaves):
    done, card = table(
        leaves, "年齢,体重,a b,a/b,image,no", ("1.5", "2.5", "1", "0", "x", "u"), ("2.5", "9.5", "0", "1", "y", "v")
    )
    assert done.exit_code == 0, done.output
    assert set(card["variables"]) == {"column", "column_2", "a_b", "a_b_2", "image_2", "no", "image"}
    assert card["variables"]["image"]["kind"] == "image"


@pytest.mark.parametrize(
    ("entries", "kind", "classes"),
    [
        (("01", "02"), "categorical", ["01", "02"]),
        (("-1.0", "1.0"), "categorical", ["-1.0", "1.0"]),
        (("1", "1.0", "3"), "continuous", None),
        (("0.5", "0.50"), None, None),
    ],
)
def test_numbers_are_classes_as_they_are_written(leaves, entries, kind, classes):
    done, card = table(leaves, "x,y", *((entry, f"{place / 7:.3f}") for place, entry in enumerate(entries)))
    assert done.exit_code == 0, done.output
    found = card["variables"].get("x", {})
    assert found.get("kind") == kind
    assert found.get("classes") == classes


def test_a_name_that_no_card_can_have_is_refused(leaves):
    done = CliRunner().invoke(main, ["new", "dataset", "../x", "--csv", "leaves.csv", "--images", "pictures"])
    assert done.exit_code == 1
    assert "cannot be a name" in done.stderr
