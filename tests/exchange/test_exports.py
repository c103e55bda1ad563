"""Records in the formats of others say the same numbers, and nothing that the record does not say."""

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from counterbench import datasets
from counterbench.cli import main
from counterbench.errors import ConfigError, RecordError, UnknownNameError
from counterbench.exchange import every_eval_ever, model_card
from counterbench.records.record import read_record, write_record

RECORDS = Path(__file__).parents[2] / "benchmarks" / "records"
DIGITS = RECORDS / "morphomnist-digits" / "standard"


@pytest.fixture(scope="module")
def vae():
    return read_record(DIGITS / "vae.json")


def converted(record, **others):
    who = {"developer": "us", "evaluator": "them", "relationship": "third_party", "seconds": 7, **others}
    return every_eval_ever.converted(record, **who)


def texts(content):
    """Every dictionary of details in it."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key in ("additional_details", "details"):
                yield value
            yield from texts(value)
    elif isinstance(content, list):
        for one in content:
            yield from texts(one)


def test_every_number_travels_with_interval_bounds_and_baselines(vae):
    results = {one["evaluation_result_id"]: one for one in converted(vae)["evaluation_results"]}
    assert len(results) == len(vae.numbers) + 1
    assert results["row_skill"]["score_details"]["score"] == vae.row_skill.value
    seen = set()
    for number in vae.numbers:
        told = results["/".join(map(str, number.key))]
        config, score = told["metric_config"], told["score_details"]
        seen.add(number.direction)
        if number.direction in ("one", "zero", "half"):
            best = {"one": 1.0, "zero": 0.0, "half": 0.5}[number.direction]
            assert score["score"] == abs(number.value - best)
            assert config["lower_is_better"] is True
            assert "uncertainty" not in score
            assert float(score["details"]["value"]) == number.value
            continue
        assert score["score"] == pytest.approx(number.value, abs=1e-12)
        assert config["lower_is_better"] is (number.direction == "lower")
        ends = [
            {"-Infinity": None, "Infinity": None}.get(config[end], config[end]) for end in ("min_score", "max_score")
        ]
        assert tuple(ends) == number.bounds
        assert score["details"].keys() == number.references.keys()
        for name, reference in number.references.items():
            assert float(score["details"][name]) == reference.value
        if number.low is not None:
            interval = score["uncertainty"]["confidence_interval"]
            assert (interval["lower"], interval["upper"], interval["confidence_level"]) == (
                number.low,
                number.high,
                0.95,
            )
    assert seen >= {"lower", "higher"}


@pytest.mark.parametrize("path", sorted(DIGITS.glob("*.json")), ids=lambda path: path.stem)
def test_details_are_texts_and_no_score_is_beyond_its_bounds(path):
    content = converted(read_record(path))
    for details in texts(content):
        assert all(isinstance(value, str) and value for value in details.values())
    for one in content["evaluation_results"]:
        config, score = one["metric_config"], one["score_details"]["score"]
        assert config["min_score"] == "-Infinity" or score >= config["min_score"]
        assert config["max_score"] == "Infinity" or score <= config["max_score"]


def test_the_librarys_own_models_take_every_published_record(tmp_path):
    types = pytest.importorskip("every_eval_ever.eval_types", reason="every_eval_ever (Python 3.12) is not installed")
    for path in sorted(RECORDS.rglob("*.json")):
        file = every_eval_ever.export(path, tmp_path, developer="us")
        types.EvaluationLog.model_validate_json(file.read_text())


def test_the_file_is_where_a_shared_store_looks_and_the_same_twice(tmp_path):
    first = every_eval_ever.export(DIGITS / "vae.json", tmp_path, developer="some body/..")
    assert every_eval_ever.export(DIGITS / "vae.json", tmp_path, developer="some body/..") == first
    assert first.is_relative_to(tmp_path / "data" / "counterbench")
    assert len(first.relative_to(tmp_path).parts) == 5
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.json", first.name)
    assert every_eval_ever.export(DIGITS / "hvae.json", tmp_path, developer="us").name != first.name


def test_an_unknown_relationship_and_an_empty_name_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="first_party, third_party"):
        every_eval_ever.export(DIGITS / "vae.json", tmp_path, developer="us", relationship="friend")
    with pytest.raises(ConfigError, match="need a name"):
        every_eval_ever.export(DIGITS / "vae.json", tmp_path, developer=" ")


def metadata(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_a_card_tells_programs_the_numbers_of_the_record(vae):
    (entry,) = metadata(model_card.as_markdown([vae], licence="mit"))["model-index"]
    assert entry["name"] == "vae"
    (result,) = entry["results"]
    told = {one["name"]: one["value"] for one in result["metrics"]}
    assert told["row skill (0 doing nothing, 1 the truth)"] == vae.row_skill.value
    number = vae.by_key["truth", "effect_error", "thickness", "", 0, ""]
    assert told["truth do(thickness): effect error (best: lower)"] == number.value
    assert all(one["type"].count(".") <= 1 for one in result["metrics"])
    assert result["dataset"]["type"] == "morphomnist"


def test_a_card_says_what_can_be_asked_and_what_was_not_measured(vae):
    text = model_card.as_markdown([vae])
    assert "| intensity | continuous | 64 to 255 grey levels | thickness | yes |" in text
    assert vae.inputs.weights_sha256 in text
    assert text.count("Not measured.") == 2
    assert "license" not in metadata(text)


def test_a_card_of_several_exams_has_each_of_them(vae):
    other = vae.model_copy(update={"inputs": vae.inputs.model_copy(update={"suite": "audit"})})
    text = model_card.as_markdown([vae, other])
    assert [one["dataset"]["args"]["suite"] for one in metadata(text)["model-index"][0]["results"]] == [
        "standard",
        "audit",
    ]
    assert text.count("row skill 0.") == 2


def test_a_card_is_about_one_model(vae):
    for first, other in (("vae", "hvae"), ("hvae", "hvae-exact")):  # the last two have the same weights
        with pytest.raises(RecordError, match="records are of 2"):
            model_card.as_markdown([read_record(DIGITS / f"{name}.json") for name in (first, other)])


@pytest.mark.parametrize("evil", ["a\n---\nlicense: evil", "```", "~~~", "<script>", "# big", "[x](y) | z", "1. one"])
def test_words_of_a_record_are_no_markup_and_no_metadata(vae, evil):
    """Whatever field a stranger puts them in, the card has the headings and fences that it always has, and no HTML."""
    inputs = vae.inputs.model_copy(
        update={"dataset": evil, "plan": evil, "source": evil, "suite": evil, "counterbench": evil}
    )
    text = model_card.as_markdown(
        [vae.model_copy(update={"name": evil, "title": evil, "notes": [evil], "inputs": inputs, "numbers": []})]
    )
    assert "license" not in metadata(text)
    body = text.split("---\n", 2)[2]
    outside = re.sub(r"```text.*?```", "", body, flags=re.DOTALL)
    assert body.count("```") == 2
    headings = re.findall(r"^ {0,3}#.*", outside, re.MULTILINE)
    assert headings[0].startswith("# ")
    assert {line.split()[0] for line in headings[1:]} == {"##"}
    assert not re.search(r"^ {0,3}~~~", outside, re.MULTILINE)
    assert "<script>" not in outside
    assert "[x](y)" not in outside


def test_a_path_in_a_record_is_not_followed_and_a_card_is_that_of_the_data(vae, tmp_path):
    (tmp_path / "evil.yaml").write_text("secret: 1")
    strange = vae.model_copy(update={"inputs": vae.inputs.model_copy(update={"dataset": str(tmp_path / "evil.yaml")})})
    assert "its card is not here" in model_card.as_markdown([strange])
    with pytest.raises(RecordError, match="adni declares 'adni'; the records are about 'morphomnist'"):
        model_card.as_markdown([vae], dataset="adni")
    with pytest.raises(UnknownNameError):
        model_card.as_markdown([vae], dataset="ani")


@pytest.mark.parametrize(
    "name", ["morphomnist-mnist/standard/vae", "adni-phantom/standard/vae", "ellipse-formula/mechanisms/spline"]
)
def test_the_commands_of_a_card_are_such(name):
    record = read_record(RECORDS / f"{name}.json")
    text = model_card.as_markdown([record])
    commands = [line.split()[1:] for line in text.splitlines() if line.startswith("counterbench ")]
    has_image = bool(datasets.card(record.inputs.dataset).image)
    assert [command[0] for command in commands] == ["evaluate", "generate"][: 1 + has_image]
    for name, *words in commands:
        command = main.commands[name]
        given = command.make_context(name, words).params
        assert given["dataset"] == record.inputs.dataset
        assert given["source"] == record.inputs.source
        for assigned in given.get("assignments", ()):
            variable = assigned.split("=")[0]
            assert variable in datasets.card(record.inputs.dataset).intervenable


def test_a_card_of_data_without_images_speaks_of_none():
    text = model_card.as_markdown([read_record(RECORDS / "ellipse-formula" / "mechanisms" / "spline.json")])
    assert metadata(text)["model-index"][0]["results"][0]["task"]["type"] == "counterfactual-inference"
    assert "image" not in text


def test_of_several_trainings_each_has_its_weights_and_of_answers_they_are_none():
    group = read_record(DIGITS / "vae-trainings.json")
    text = model_card.as_markdown([group])
    assert group.inputs.weights_sha256 not in text
    assert all(one.weights_sha256 in text for one in group.group)
    assert group.inputs.weights_sha256 not in json.dumps(converted(group))
    files = read_record(DIGITS / "vae.json").model_copy(update={"origin": "answers"})
    text = model_card.as_markdown([files])
    assert "SHA-256 of the answers" in text
    assert "## Use" not in text


def test_numbers_of_privacy_are_those_of_privacy(vae):
    known = vae.by_key["truth", "truth_skill", "thickness", "", 0, ""]
    asked = vae.model_copy(update={"numbers": [known.model_copy(update={"metric": "generation"})]})
    assert "Not measured. `counterbench evaluate --model FOLDER --suite privacy`" in model_card.as_markdown([asked])
    asked = vae.model_copy(update={"numbers": [known.model_copy(update={"metric": "memorisation"})]})
    assert "memorisation do(thickness): truth skill" in model_card.as_markdown([asked])
    assert "--suite privacy" not in model_card.as_markdown([asked])


def test_a_card_replaces_a_card_and_no_other_file(tmp_path):
    arguments = ["export", "card", str(DIGITS / "vae.json"), "--output", str(tmp_path)]
    for _ in range(2):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "README.md")
    (tmp_path / "README.md").write_text("# mine")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "no model card of counterbench" in result.output
    assert (tmp_path / "README.md").read_text() == "# mine"


def test_the_card_of_data_that_nobody_knows_asks_for_it(vae, tmp_path):
    strange = vae.model_copy(update={"inputs": vae.inputs.model_copy(update={"dataset": "ours"})})
    assert "`export card --dataset CARD`" in model_card.as_markdown([strange])
    write_record(strange, tmp_path / "record.json")
    result = CliRunner().invoke(
        main, ["export", "every-eval-ever", str(tmp_path), "--developer", "us", "--output", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(Path(result.stdout.strip()).read_text())["schema_version"] == every_eval_ever.SCHEMA
