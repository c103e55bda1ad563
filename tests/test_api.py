import os

import pytest

import counterbench
from counterbench.errors import ConfigError, RecordError
from counterbench.records.record import read_record


@pytest.fixture(scope="module")
def result(toy):
    return counterbench.evaluate(toy.ExactModel(), toy.Toy(), suite="quick", limit=12, device="cpu", name="exact")


def test_a_function_gets_the_numbers_of_the_object_that_has_it(toy, result):
    model = toy.ExactModel()

    def answers(factual, interventions, generator):
        return model.counterfactual(factual, interventions, generator)

    made = counterbench.evaluate(answers, toy.Toy(), suite="quick", limit=12, device="cpu")
    assert made.record.inputs.model == "answers"
    ours = {n.key: (n.value, n.low, n.high) for n in made.record.numbers if n.metric != "cost"}
    assert ours == {n.key: (n.value, n.low, n.high) for n in result.record.numbers if n.metric != "cost"}


def test_a_result_shows_itself(result):
    text = str(result.table())
    assert "12 of 120 samples" in text
    assert repr(result) == text
    page = result._repr_html_()
    assert page.startswith("<pre")
    assert "row skill" in page
    assert len(str(result.table(detail=True)).splitlines()) > len(text.splitlines())


def test_rows_are_plain_and_whole(result):
    rows = result.rows()
    assert len(rows) == len(result.record.numbers)
    truth = next(row for row in rows if row["metric"] == "truth" and row["quantity"] == "l1")
    assert truth["value"] == result.record.by_key["truth", "l1", truth["intervened"], "", 0, "l1"].value
    assert {"identity", "noise", "retrieve", "resample", "truth"} <= truth.keys()
    assert "references" not in truth


def test_a_plot_is_a_figure(result, tmp_path):
    figure = result.plot()
    figure.savefig(tmp_path / "g.png")
    assert sum(len(axis.images) for axis in figure.axes) >= 8 * 4


def test_it_is_saved_as_the_command_line_does(result, tmp_path):
    folder = result.save(tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        "record.json",
        "samples.parquet",
        "totals.safetensors",
        "plan.parquet",
        "grid.png",
    }
    assert read_record(folder / "record.json").inputs == result.record.inputs


def test_what_cannot_answer_is_said(toy):
    with pytest.raises(ConfigError, match="3 cannot be evaluated: give a name"):
        counterbench.evaluate(3, toy.Toy(), suite="quick", limit=3, device="cpu")


def test_there_is_no_picture_without_images():
    made = counterbench.evaluate("identity", "ellipse", suite="mechanisms", limit=20, device="cpu")
    with pytest.raises(ConfigError, match="There is no picture"):
        made.plot()


def test_mistakes_of_a_notebook(toy):
    with pytest.raises(ConfigError, match="ExactModel is a class; give an instance"):
        counterbench.evaluate(toy.ExactModel, toy.Toy(), suite="quick", limit=3, device="cpu")
    with pytest.raises(ConfigError, match=r"metrics is 'truth'; give a list of names, e\.g\. \['truth'\]"):
        counterbench.evaluate(toy.ExactModel(), toy.Toy(), metrics="truth", limit=3, device="cpu")


def test_a_record_is_never_replaced_by_another_models(toy, tmp_path, monkeypatch):
    """What a function reads while it answers is no part of what it holds, so two of them may have equal inputs."""

    def shifted(given, held, generator):
        return {**given, **held, "image": (given["image"] + float(os.environ["SHIFT"])).clamp(0, 255)}

    results = []
    for by in ("1", "2"):
        monkeypatch.setenv("SHIFT", by)
        results.append(counterbench.evaluate(shifted, toy.Toy(), suite="quick", limit=5, device="cpu"))
    first, second = results
    first.save(tmp_path)
    first.save(tmp_path)
    with pytest.raises(RecordError, match="give yours a name of its own"):
        second.save(tmp_path)


def test_what_a_function_holds_tells_two_of_one_name_apart(toy, tmp_path):
    def shift(by):
        return lambda given, held, generator: {**given, **held, "image": (given["image"] + by).clamp(0, 255)}

    results = [counterbench.evaluate(shift(by), toy.Toy(), suite="quick", limit=5, device="cpu") for by in (1, 2)]
    assert results[0].save(tmp_path) != results[1].save(tmp_path)
