import pytest
import torch
from rich.console import Console

from counterbench import evaluation
from counterbench.errors import ConfigError
from counterbench.models import Contestant
from counterbench.report import curves, graphs, grid, table
from counterbench.report.sheet import tiled
from counterbench.samples import Samples


@pytest.fixture(scope="module")
def record(toy):
    exam = evaluation.prepare(toy.Toy(), "quick", device="cpu", limit=10)
    return evaluation.evaluate(Contestant("exact", toy.ExactModel(), title="Exact", pixel_temperature=0.5), exam).record


def rendered(record, width=table.WIDTH):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(table.build(record, width=width))
    return console.export_text()


def test_every_number_of_the_table_is_in_the_text(record):
    text = rendered(record)
    assert "10 of 120 test images" in text
    assert "10 null, 30 single, 30 return, 20 pair; 5 independent units" in text
    assert "pixel-noise temperature 0.5" in text
    for number in table.shown_numbers(record):
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
    panels = [grid.Panel("do(a)", ["= 1", "= 2"], answer, answer), grid.Panel("do(b)", ["= 1", "= 2"], answer, None)]
    grid.draw_grid(factual, "image", panels, "title", tmp_path / "g.png")
    assert png(tmp_path / "g.png")


def test_graph_and_curves(tmp_path, toy):
    graphs.draw_graph(toy.CARD.graph, toy.CARD.build_variables(), tmp_path / "g.png", "toy")
    curves.draw_curves(
        {"a": {"train": [3, 2, 1.0], "validation": [3, 2, 2.0]}, "c": {"train": [], "validation": []}},
        tmp_path / "c.png",
    )
    curves.draw_curves({"c": {"train": [], "validation": []}}, tmp_path / "empty.png")
    for name in ("g.png", "c.png", "empty.png"):
        assert png(tmp_path / name)


def test_a_narrow_terminal_loses_no_number(record):
    text = "".join(rendered(record, 80).split())
    assert "theotherbaselinesneedawiderterminal" in text
    for number in table.shown_numbers(record):
        assert table.interval(number).replace(" ", "") in text


def test_what_a_baseline_wins_is_marked_and_what_was_leaked_as_well(record):
    number = next(n for n in record.numbers if n.metric == "composition")
    won = number.model_copy(update={"value": 3.0})
    assert table.beaten_by(won, "identity")
    assert not table.beaten_by(won.model_copy(update={"value": -1.0}), "identity")
    assert not table.beaten_by(won.model_copy(update={"metric": "cost"}), "identity")
    assert not table.beaten_by(won.model_copy(update={"quantity": "attribute_error"}), "identity")
    closer = number.model_copy(update={"direction": "one", "value": 1.1})
    assert not table.beaten_by(closer, "identity")  # 0 is further from 1 than 1.1
    text = rendered(record.model_copy(update={"numbers": [won.model_copy(update={"leaked": True})]}))
    assert "0*" in text
    assert "LEAKED: the model was trained against a judge" in text
    assert "does at least as well as the model" in text


def test_the_worst_cell_is_the_lowest_skill(record):
    skills = [number for number in record.numbers if number.quantity == "skill"]
    assert record.worst_cell.value == min(number.value for number in skills)
    assert f"worst cell: {record.worst_cell.measured} under" in rendered(record)


def test_a_sheet_of_a_dataset(toy, tmp_path):
    from counterbench import gallery

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
