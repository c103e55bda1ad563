import io
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from rich.console import Console

from counterbench import evaluation
from counterbench.causal.samples import Samples
from counterbench.cli.base import print_record
from counterbench.errors import ConfigError
from counterbench.leaderboard import comparison_report
from counterbench.leaderboard.comparison import Comparison
from counterbench.leaderboard.paired import Difference
from counterbench.leaderboard.remarks import remarks
from counterbench.models.model import Contestant
from counterbench.pictures import curves, graphs, grid, sheet
from counterbench.pictures.sheet import tiled
from counterbench.records import table
from counterbench.records.record import read_record
from counterbench.records.table import footnotes


@pytest.fixture(scope="module")
def record(toy):
    exam = evaluation.prepare(toy.Toy(), "quick", device="cpu", limit=60)
    return evaluation.evaluate(Contestant("exact", toy.ExactModel(), title="Exact", pixel_temperature=0.5), exam).record


def rendered(record, width=table.WIDTH):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(table.build(record, width=width))
    return console.export_text()


def test_every_number_of_the_table_is_in_the_text(record):
    text = rendered(record)
    assert "60 of 120 test images" in text
    assert "60 null, 180 single, 180 return, 120 pair; 30 independent units" in text
    assert "pixel-noise temperature 0.5" in text
    for number in table.shown_numbers(record):
        if not table.says_nothing(number):
            assert table.label(number) in text
            assert table.show(number.value) in text


def test_only_the_ends_of_a_curve_are_shown_unless_details_are_asked_for(record):
    curve = [n for n in record.numbers if n.metric == "composition"]
    assert [n.cycles for n in curve] == [1, 2, 3]
    assert [n.cycles for n in table.shown_numbers(record) if n.metric == "composition"] == [1, 3]
    assert table.shown_numbers(record, detail=True) == record.numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.123456, "0.123"),
        (12.345, "12.3"),
        (153.7, "154"),
        (1e-5, "1.0e-05"),
        (123456, "123,456"),
        (-2.5, "-2.5"),
        (99.96, "100"),
    ],
)
def test_three_significant_digits(value, text):
    assert table.show(value) == text


def png(path):
    return path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("channels", [1, 3])
def test_grid(tmp_path, channels):
    factual = Samples({"image": torch.rand(2, channels, 8, 8) * 255}, torch.arange(2))
    answer = torch.rand(2, channels, 8, 8) * 255
    panels = [
        grid.InterventionColumns("do(a)", ["= 1", "= 2"], answer, answer),
        grid.InterventionColumns("do(b)", ["= 1", "= 2"], answer, None),
    ]
    grid.draw_grid(factual, "image", panels, title="title", path=tmp_path / "g.png")
    assert png(tmp_path / "g.png")
    figure = grid.grid_figure(factual, "image", panels, title="title")
    (axis,) = figure.axes
    words = [(text.get_text(), text.get_position()) for text in axis.texts]
    heads = sorted((place[0], word) for word, place in words if not word.startswith(("=", "title", "change from ")))
    titles = ["factual", "do(a)", "truth", "change", "do(b)", "change"]
    assert [word for _, word in heads] == titles
    assert [word for word, _ in words if word.startswith("=")] == ["= 1", "= 2"] * 2
    # Every image below its head, row by row; where there is no truth there is no column.
    drawn = {tuple(round(end, 2) for end in image.get_extent()): image.get_array().data for image in axis.images}
    assert len(drawn) == 2 * 6
    left, right, lower, upper = sorted(drawn)[-1]
    assert (left + right) / 2 == pytest.approx(heads[-1][0], abs=0.01)
    assert lower - upper == pytest.approx(right - left)
    below = max((place for place in drawn if place[0] == left), key=lambda place: place[2])
    change = (answer - factual["image"])[1].mean(0)
    assert torch.allclose(torch.as_tensor(drawn[below]), change)


def test_graph_and_curves(tmp_path, toy):
    graphs.draw_graph(toy.CARD.graph, toy.CARD.build_variables(), tmp_path / "g.png", title="toy")
    curves.draw_curves(
        {"a": {"train": [3, 2, 1.0], "validation": [3, 2, 2.0]}, "c": {"train": [], "validation": []}},
        tmp_path / "c.png",
    )
    curves.draw_curves({"c": {"train": [], "validation": []}}, tmp_path / "empty.png")
    for name in ("g.png", "c.png", "empty.png"):
        assert png(tmp_path / name)


@pytest.mark.parametrize("width", [28, 44, 60, 80, 100, 120])
def test_a_narrow_terminal_cuts_no_value(record, width):
    """References go first, and how many is said; then the interval; the value never does."""
    long = record.numbers[0].model_copy(
        update={"value": -1234567.0, "measured": "a", "low": -2345678.0, "high": -1111111.0}
    )
    record = record.model_copy(update={"numbers": [*record.numbers, long]})
    text = rendered(record, width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    header = next(line for line in text.splitlines() if " value" in line)
    assert ("95 % interval" in header) == (width >= 60)
    shown = [name for name in (*table.floors_of(record), table.CEILING) if f" {name}" in header]
    assert len(shown) == {28: 0, 44: 0, 60: 0, 80: 1, 100: 3, 120: 5}[width]
    flat = " ".join(text.split())
    assert (f"{5 - len(shown)} reference column" in flat) == (len(shown) < 5)
    rows = text.splitlines()
    for number in table.shown_numbers(record):
        if table.says_nothing(number):
            continue
        assert any(re.search(rf"(^|\s){re.escape(table.show(number.value))}[* ]?(\s|$)", row) for row in rows)
        if width >= 60:
            assert table.interval(number) in text


def test_hidden_baselines_that_win_are_counted(record):
    number = next(n for n in record.numbers if n.metric == "composition")
    won = number.model_copy(update={"value": 3.0})
    lost = number.model_copy(update={"value": -1.0, "cycles": 2})
    text = " ".join(rendered(record.model_copy(update={"numbers": [won, lost]}), 44).split())
    assert "hidden baselines do at least as well as the model in 1 of 2 rows" in text
    assert "hidden" not in rendered(record)


def test_without_arrows_a_table_is_ascii_and_stays_aligned(record):
    console = Console(width=table.WIDTH, record=True, file=io.StringIO())
    console.print(table.build(record, symbols=False))
    text = console.export_text()
    assert text.isascii()
    start = next(line for line in text.splitlines() if "95 % interval" in line).index("95 %")
    rows = [line for line in text.splitlines() if "[" in line and not line.startswith("row skill")]
    assert {line[start - 1 : start + 1] for line in rows} == {" ["}


def compared(record, names):
    """The numbers of a record as those of several models."""
    numbers = {number.key: [number] * len(names) for number in record.numbers}
    ranks = {key: list(range(1, len(names) + 1)) for key in numbers}
    effect = (0.3, -0.1, 0.7)
    differences = [Difference(key, *names[:2], 1.25, -0.5, 3.0, 0.2, effect, 0.3, 0.4) for key in numbers]
    return Comparison(tuple(names), numbers, ranks, differences, 10)


@pytest.mark.parametrize(
    ("names", "width", "hidden"),
    [
        (["one", "two"], 60, "95 % interval, p bootstrap, p Wilcoxon, best baseline"),
        (["one", "two"], 200, ""),
        ([f"model-number-{n}" for n in range(6)], 60, "model-number-3 (rank), model-number-4 (rank)"),
        ([f"model-number-{n}" for n in range(6)], 200, ""),
    ],
)
def test_a_narrow_comparison_cuts_no_value(record, names, width, hidden):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(comparison_report.build(compared(record, names), width))
    text = console.export_text()
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    assert (f"no room for: {hidden}" in " ".join(text.split())) if hidden else ("no room for" not in text)
    for number in record.numbers:
        assert f" {table.show(number.value)} (1)" in text


def test_names_on_a_terminal_cannot_steer_it(record, capsys):
    evil = record.model_copy(update={"title": "\x1b]0;owned\x07model\nname\x9b2J"})
    print_record(evil, as_json=False, detail=False)
    out = capsys.readouterr().out
    assert out.startswith("]0;ownedmodelname2J  toy/formula, ")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", out)


def test_what_a_baseline_wins_is_marked_and_what_was_leaked_as_well(record):
    number = next(n for n in record.numbers if n.metric == "composition")
    won = number.model_copy(update={"value": 3.0})
    assert table.beaten_by(won, "identity")
    assert not table.beaten_by(won.model_copy(update={"value": -1.0}), "identity")
    assert not table.beaten_by(won.model_copy(update={"role": "resource"}), "identity")
    assert not table.beaten_by(won.model_copy(update={"given": True}), "identity")
    closer = number.model_copy(update={"direction": "one", "value": 1.1})
    assert not table.beaten_by(closer, "identity")  # 0 is further from 1 than 1.1
    text = rendered(record.model_copy(update={"numbers": [won.model_copy(update={"leaked": True})]}))
    assert "0*" in text
    assert "LEAKED: the model was trained against a judge" in text
    assert "does at least as well as the model" in text


def disputed(record, share, of_truth, quantity="judges_agreement"):
    """The record, with judges who are so far apart on c under do(a)."""
    cell = next(n for n in record.numbers if (n.quantity, n.intervened, n.measured) == ("accuracy", "a", "c"))
    ends = {"truth": cell.references["identity"].model_copy(update={"value": of_truth})}
    told = {"quantity": quantity, "value": share, "role": "detail", "references": ends}
    return record.model_copy(update={"numbers": [*record.numbers, cell.model_copy(update=told)]})


@pytest.mark.parametrize(
    ("share", "of_truth", "quantity", "marked"),
    [
        (0.9, 0.97, "judges_agreement", True),
        (0.95, 0.97, "judges_agreement", False),
        (0.96, 1.0, "judges_agreement", False),  # one image of twenty-five
        (0.3, 0.14, "judges_spread", True),
        (0.3, 0.16, "judges_spread", False),
    ],
)
def test_numbers_whose_judges_disagree_are_marked(record, share, of_truth, quantity, marked):
    doubtful = disputed(record, share, of_truth, quantity)
    found = {(number.quantity, number.intervened, number.measured) for number in doubtful.disputed}
    assert found == ({("accuracy", "a", "c")} if marked else set())
    text = " ".join(rendered(doubtful).split())
    assert ("c: accuracy ↑ DISPUTED" in text) == marked
    assert ("DISPUTED: the judges disagree on c under do(a)" in text) == marked
    assert ("its judges disagree on c under do(a)" in [one.words for one in remarks(doubtful)]) == marked


def test_the_worst_cell_is_the_lowest_skill(record):
    skills = [number for number in record.numbers if number.quantity == "skill"]
    assert record.worst_cell.value == min(number.value for number in skills)
    assert f"worst cell: {record.worst_cell.measured} under" in rendered(record)


def test_a_sheet_of_a_dataset(toy, tmp_path):
    from counterbench.pictures import gallery

    path = tmp_path / "s.png"
    gallery.draw_dataset(toy.Toy(), 12, 0, path)
    assert path.stat().st_size > 5000
    with pytest.raises(ConfigError, match="--count 0: give a number from 1 to"):
        gallery.draw_dataset(toy.Toy(), 0, 0, path)


def test_tiles_are_the_samples_in_their_order():
    samples = torch.stack([torch.full((1, 3, 3), float(v)) for v in (10, 20, 30)])
    sheet = tiled(samples, 2)
    assert sheet.shape == (1, 8, 8)
    assert sheet[0, 0, 0] == 10
    assert sheet[0, 0, 5] == 20
    assert sheet[0, 5, 0] == 30
    assert sheet[0, 5, 5] == 255  # no fourth


DOLLARS = "a $ b $ c $^{"


def draw_everything(folder, toy, record):
    """One picture of every kind, with words that matplotlib could take for formulas."""
    factual = Samples({"image": torch.linspace(0, 255, 128).reshape(2, 1, 8, 8)}, torch.arange(2))
    captions = [DOLLARS, DOLLARS]
    panel = grid.InterventionColumns(DOLLARS, captions, factual["image"], None)
    grid.draw_grid(factual, "image", [panel], title=DOLLARS, path=folder / "grid.png")
    sheet.draw_sheet(
        factual["image"],
        factual["image"],
        [(DOLLARS, captions, factual["image"])],
        title=DOLLARS,
        path=folder / "sheet.png",
    )
    graphs.draw_graph(toy.CARD.graph, toy.CARD.build_variables(), folder / "graph.png", title=DOLLARS)
    curves.draw_curves({DOLLARS: {"train": [3, 2, 1.0], "validation": [3, 2, 2.0]}}, folder / "curves.png")
    comparison_report.draw(compared(record, ["one", DOLLARS]), folder / "versus.png")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_users_matplotlibrc_changes_no_picture_and_dollars_are_no_formulas(tmp_path, toy, record):
    import matplotlib

    for name in ("plain", "strange"):
        (tmp_path / name).mkdir()
    plain = draw_everything(tmp_path / "plain", toy, record)
    settings = {
        "text.usetex": True,
        "savefig.dpi": 10,
        "savefig.bbox": "tight",
        "font.size": 30,
        "figure.facecolor": "red",
    }
    with matplotlib.rc_context(settings):
        strange = draw_everything(tmp_path / "strange", toy, record)
        assert matplotlib.rcParams["font.size"] == 30
    assert len(plain) == 5
    assert strange == plain
    assert not matplotlib.rcParams["text.usetex"]


def test_the_star_stands_at_the_models_value_with_its_unit_beside(record):
    number = next(n for n in record.numbers if n.metric == "composition")
    ends = {name: end.model_copy(update={"value": 0.0}) for name, end in number.references.items()}
    lost = number.model_copy(update={"value": 3.0, "low": 2.0, "high": 4.0, "references": ends})
    won = number.model_copy(update={"value": 0.0, "low": 0.0, "high": 0.0, "cycles": 7})
    text = rendered(record.model_copy(update={"numbers": [lost, won]}), 80)
    (line,) = (row for row in text.splitlines() if "after 1 cycle" in row)
    assert re.search(r" 3\* grey levels +\[2, 4\]", line)


def test_the_heads_of_the_columns_come_back(record):
    listed = [
        number.model_copy(update={"cycles": cycle, "intervened": name, "value": 1.0 + cycle})
        for name in ("a", "b", "c")
        for number in record.numbers[:1]
        for cycle in range(1, 30)
    ]
    lines = rendered(record.model_copy(update={"numbers": listed}), 120).splitlines()
    heads = [place for place, line in enumerate(lines) if "95 % interval" in line]
    assert len(heads) == 3
    assert all(second - first < 35 for first, second in pairwise(heads))


def test_what_needs_the_docs_is_said_in_one_phrase_each():
    record = read_record(
        Path(__file__).parents[2] / "benchmarks" / "records" / "morphomnist-digits" / "standard" / "vae.json"
    )
    told = footnotes(record)
    for begins in ("CLD: ", "excess change: ", "kid: "):
        assert sum(note.startswith(begins) for note in told) == 1
    assert not any(note.startswith("perturbation drop: ") for note in told)  # a detail
    assert any(note.startswith("perturbation drop: ") for note in footnotes(record, detail=True))
