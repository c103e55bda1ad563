"""Model cards: what people need to know of a model before they use it, from its records, in the format of the Hugging Face hub. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from counterbench import datasets
from counterbench.catalog.cards import Card
from counterbench.datasets import card as find_card
from counterbench.errors import RecordError, short
from counterbench.leaderboard.formats import plain_text
from counterbench.plugins import registry
from counterbench.records import summary
from counterbench.records.record import Record, called, file_of, read_record
from counterbench.records.subgroups import Subgroups
from counterbench.records.summary import WITHOUT_IMAGES, by_question, columns_of
from counterbench.records.table import heading, interval, show
from counterbench.runtime.terminal import one_line, printable_lines
from counterbench.storage.files import write_text

NAME = "README.md"
"""What the hub calls a model card."""


def export(records: Sequence[Path], output: Path, *, licence: str = "", dataset: str | None = None) -> Path:
    """Write the card of one model.

    Args:
        records: files or folders of its evaluations, of any suites and datasets.
        output: the folder that gets `README.md`, such as the folder of the trained model.
        licence: of the weights, as the hub spells it (`mit`, `apache-2.0`); empty where it is to be filled in.
        dataset: the card of the data, where it is not in the catalogue.

    Returns:
        The file.

    Raises:
        RecordError: if they are no records, or of several models; if the card is of other data; if a README.md of somebody else is there.
    """
    read = [read_record(file_of(path)) for path in records]
    file = output / NAME
    if file.exists() and "library_name: counterbench" not in file.read_text(encoding="utf-8", errors="replace"):
        raise RecordError(f"{file} is there, and no model card of counterbench; choose another folder with --output.")
    write_text(file, as_markdown(read, licence=licence, dataset=dataset))
    return file


def as_markdown(records: Sequence[Record], *, licence: str = "", dataset: str | None = None) -> str:
    """The card's text.

    Args:
        records: of one model, the one that counts most first.
        licence: of the weights.
        dataset: the card of the data, where it is not in the catalogue.

    Raises:
        RecordError: if they are of several models.
    """
    _require_one_model(records)
    cards = _cards(records, dataset)
    head = yaml.safe_dump(_metadata(records, licence), sort_keys=False, allow_unicode=True, width=1000)
    sections = [
        _opening(records[0]),
        _questions(records, cards),
        _answers(records),
        _limits(records),
        _training(records[0]),
        _privacy(records),
        _subgroups(records),
        _use(records[0], cards.get(records[0].inputs.dataset)),
        _checking(records),
    ]
    body = "\n\n".join("\n".join(lines) for lines in sections if lines)
    return f"---\n{head}---\n\n{body}\n"


def _require_one_model(records: Sequence[Record]) -> None:
    """The same weights, answering in the same way: recipes may share weights and answer otherwise."""
    known = {
        (one.inputs.weights_sha256 or one.inputs.model, json.dumps(one.inputs.recipe, sort_keys=True, default=str))
        for one in records
    }
    if len(known) != 1:
        names = ", ".join(dict.fromkeys(called(one) for one in records))
        raise RecordError(
            f"A card is about one model; these records are of {len(known)} ({names}), by their weights and recipes."
        )


def _cards(records: Sequence[Record], dataset: str | None) -> dict[str, Card]:
    """Name -> card of the data of some records, as far as it is here; a path in a record is not followed."""
    names = dict.fromkeys(one.inputs.dataset for one in records)
    found = {name: find_card(name) for name in names if name in datasets.names()}
    if dataset is not None:
        given = find_card(dataset)
        if given.name not in names:
            raise RecordError(
                f"{dataset} declares {given.name!r}; the records are about {', '.join(map(short, names))}."
            )
        found[given.name] = given
    return found


# --- what programs read ------------------------------------------------------------------------------------------------


def _metadata(records: Sequence[Record], licence: str) -> dict[str, Any]:
    """The hub's metadata: how the model is found, and its numbers (`model-index`)."""
    return {
        "library_name": "counterbench",
        **({"license": licence} if licence else {}),
        "tags": ["counterfactual", "causal-inference", "counterbench"],
        "model-index": [{"name": called(records[0]), "results": [_result(one) for one in records]}],
    }


def _result(record: Record) -> dict[str, Any]:
    inputs = record.inputs
    return {
        "task": (
            {"type": "counterfactual-image-generation", "name": "Counterfactual image generation"}
            if _has_images(record)
            else {"type": "counterfactual-inference", "name": "Counterfactual inference"}
        ),
        "dataset": {
            "type": one_line(inputs.dataset),
            "name": one_line(f"{inputs.dataset}/{inputs.source}"),
            "config": one_line(inputs.source),
            "split": "test",
            "args": {"suite": one_line(inputs.suite), "seed": inputs.seed, "samples": record.images},
        },
        "metrics": _metrics(record),
    }


def _metrics(record: Record) -> list[dict[str, Any]]:
    """The row skill, and of every question the numbers behind the summary, by their own names."""
    skill = record.row_skill
    told: list[dict[str, Any]] = []
    if skill is not None:
        told.append({"type": "row_skill", "name": "row skill (0 doing nothing, 1 the truth)", "value": skill.value})
    for column in dict.fromkeys((*WITHOUT_IMAGES, *columns_of(record))):
        for number, _ in by_question(record, column).values():
            about = "; ".join(filter(None, (number.unit, f"best: {number.direction}")))
            name = f"{heading(number)} ({about})"
            told.append({"type": f"{number.metric}.{number.quantity}", "name": name, "value": number.value})
    return told


# --- what people read --------------------------------------------------------------------------------------------------


def _has_images(record: Record) -> bool:
    return columns_of(record) is not WITHOUT_IMAGES


def _opening(record: Record) -> list[str]:
    recipe = record.inputs.recipe
    what = "an image" if _has_images(record) else "an individual"
    paragraphs = [
        f"# {plain_text(called(record))}",
        f"{plain_text(record.title)}: it answers what {what} would be had one of its causes been otherwise, everything else unchanged.",
        plain_text(one_line(str(recipe.get("description", "")))),
    ]
    cited = plain_text(one_line(str(recipe.get("citation", ""))))
    return "\n\n".join(filter(None, [*paragraphs, f"Method: {cited}" if cited else ""])).split("\n")


def _questions(records: Sequence[Record], cards: Mapping[str, Card]) -> list[str]:
    lines = ["## What it can be asked", ""]
    for name in dict.fromkeys(one.inputs.dataset for one in records):
        if name in cards:
            lines += [f"On {plain_text(name)}:", "", *_variables(cards[name]), ""]
        else:
            lines += [
                f"- {plain_text(name)}: its card is not here; `export card --dataset CARD` tells the variables.",
                "",
            ]
    return lines[:-1]


def _variables(card: Card) -> list[str]:
    lines = ["| variable | kind | values | is caused by | can be set |", "|---|---|---|---|---|"]
    for name, entry in card.variables.items():
        if entry.range is not None:
            values = f"{entry.range[0]:g} to {entry.range[1]:g} {entry.unit}".strip()
        elif entry.shape is not None:
            values = " x ".join(map(str, entry.shape))
        else:
            values = ", ".join(entry.classes[:12]) + (", ..." if len(entry.classes) > 12 else "")
        settable = "yes" if name in card.intervenable else "no"
        cells = [name, entry.kind, values or "-", ", ".join(entry.parents) or "-", settable]
        lines.append("| " + " | ".join(plain_text(cell) for cell in cells) + " |")
    return lines


def _answers(records: Sequence[Record]) -> list[str]:
    lines = [
        "## How good the answers are",
        "",
        "Measured by counterbench against the true counterfactuals where they are known; intervals of 95 %.",
    ]
    for record in records:
        lines += ["", "```text", *_fenced(summary.as_text(record, remarks=False)), "```"]
    return lines


def _fenced(text: str) -> list[str]:
    return printable_lines(text).replace("```", "'''").splitlines()


def _limits(records: Sequence[Record]) -> list[str]:
    lines: list[str] = []
    for record in records:
        told = list(_doubts(record))
        if len(records) > 1 and told:
            lines += [f"{plain_text(_exam(record))}:", "", *(f"- {plain_text(one)}" for one in told), ""]
        else:
            lines += [f"- {plain_text(one)}" for one in told]
    general = "The numbers say how it answers on this data: nothing of data from elsewhere, and nothing of what is good for a patient."
    return ["## Limits", "", *lines, f"- {general}"]


def _doubts(record: Record) -> Iterator[str]:
    """What makes the numbers of a record doubtful, or is missing in it."""
    yield from (*record.flags, *record.notes)
    if record.seeds and not record.group:
        yield f"{record.trainings_in_words}: what another training would score is not in the intervals"
    if record.pixel_temperature is not None:
        yield f"pixel-noise temperature {record.pixel_temperature:g}: compare what is kept only at the same one"
    if record.disputed_in_words:
        yield f"judges disagree on {record.disputed_in_words}"
    if record.leaked:
        yield f"numbers that come from judges it was trained against, and are no evidence: {len(record.leaked)}"
    if record.partial:
        yield f"only a part was asked: {record.partial}"
    worst = record.worst_cell
    if worst is not None:
        yield f"worst attribute: {worst.measured} under do({worst.intervened}), skill {show(worst.value)} {interval(worst)}"
    yield from (f"not measured: {what} ({why})" for what, why in record.skipped.items())


def _exam(record: Record) -> str:
    return f"{record.inputs.dataset}/{record.inputs.source}, suite {record.inputs.suite}"


def _training(record: Record) -> list[str]:
    training = record.training
    rows = [
        ("data", record.trained_on),
        ("trainings", record.trainings_in_words),
        ("rows", training.get("limit")),
        ("epochs", training.get("epochs")),
        ("seconds", training.get("seconds")),
        ("parameters", f"{record.parameters:,}"),
        *_weights(record),
        *((key, _briefly(training[key])) for key in ("base", "init", "rows", "feed", "teacher") if training.get(key)),
    ]
    judges = training.get("judges_used_in_training") or []
    if judges:
        rows.append(("trained against judges", str(len(judges))))
    told = [f"| {name} | {plain_text(str(value))} |" for name, value in rows if value not in (None, "")]
    return ["## Training", "", "| | |", "|---|---|", *told]


def _weights(record: Record) -> list[tuple[str, str | None]]:
    """What tells the model apart: of several trainings the weights of each; of answers from files their fingerprint."""
    if record.group:
        return [(f"SHA-256 of the weights, seed {one.seed}", one.weights_sha256) for one in record.group]
    if record.origin == "answers":
        return [("SHA-256 of the answers", record.inputs.weights_sha256)]
    return [("SHA-256 of the weights", record.inputs.weights_sha256)]


def _briefly(value: Any) -> str:
    text = one_line(str(value))
    return text if len(text) <= 200 else f"{text[:197]}..."


def _privacy(records: Sequence[Record]) -> list[str]:
    watched = _watched()
    told = [
        plain_text(f"{_exam(one)}: {heading(number)} {show(number.value)} {number.unit} {interval(number)}")
        for one in records
        for number in one.numbers
        if number.metric in watched and number.role == "headline"
    ]
    unknown = (
        "Not measured. `counterbench evaluate --model FOLDER --suite privacy` asks who of the training individuals can "
        "be found again."
    )
    return ["## What it gives away of whom it was trained on", "", *([f"- {line}" for line in told] or [unknown])]


def _watched() -> set[str]:
    """Metrics of what a model gives away."""
    return {name for name in registry.metrics.names() if registry.metrics.get(name).of_privacy}


def _subgroups(records: Sequence[Record]) -> list[str]:
    told = [
        "- " + plain_text(_worst(one, divided)) for one in records for divided in one.subgroups if divided.row_skill
    ]
    unknown = "Not measured. `counterbench view RECORD --by domain` (or any attribute) divides the numbers of a record."
    return ["## Who is served worst", "", *(told or [unknown])]


def _worst(record: Record, divided: Subgroups) -> str:
    where = f"{_exam(record)}, by {divided.by}"
    skill = divided.row_skill
    if skill is None or skill.worst is None or skill.gap is None:
        return f"{where}: too few images in the subgroups to say"
    return (
        f"{where}: the row skill is worst in {skill.worst_name}, {show(skill.worst.value)} {interval(skill.worst)}, "
        f"and {show(skill.gap.value)} {interval(skill.gap)} better in {skill.best_name}"
    )


def _use(record: Record, card: Card | None) -> list[str]:
    """Commands that work with the model's folder; none for answers from files, and for data that is not in the catalogue."""
    if record.origin == "answers" or card is None or card.name not in datasets.names():
        return []
    if record.inputs.source not in card.sources:
        return []
    data = f"--dataset {card.name} --source {record.inputs.source}"
    lines = ["pip install counterbench", f"counterbench evaluate --model model {data}"]
    if card.image:
        lines.append(f"counterbench generate --model model {data} --do {_example(card)} --output answers.png")
    return ["## Use", "", "With this repository's files in `model`:", "", "```", *lines, "```"]


def _example(card: Card) -> str:
    """A value that can be set, as the command line takes it."""
    name = card.intervenable[0]
    entry = card.variables[name]
    if entry.range is not None:
        return f"{name}={sum(entry.range) / 2:g}"
    return f"{name}={entry.classes[-1] if entry.classes else 1}"


def _checking(records: Sequence[Record]) -> list[str]:
    lines = [
        "## Check these numbers",
        "",
        "| exam | questions (SHA-256) | record | counterbench | edition of the definitions |",
        "|---|---|---|---|---|",
    ]
    for record in records:
        inputs = record.inputs
        exam = f"{_exam(record)}, seed {inputs.seed}"
        cells = (exam, inputs.plan[:16], inputs.hash[:16], inputs.counterbench, str(inputs.edition))
        lines.append(f"| {' | '.join(map(plain_text, cells))} |")
    asks = (
        ""
        if records[0].origin == "answers"
        else "; `counterbench verify RECORD --model model` asks the model some of these questions again"
    )
    return [*lines, "", f"`counterbench validate RECORD` checks whether they can be true{asks}."]
