"""Plans as files: parquet, csv or json, one line a question."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from counterbench.catalog.suites import MOST_CYCLES
from counterbench.causal.variables import Continuous
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError, DataError, short, suggestion
from counterbench.plans.drawing import captions
from counterbench.plans.plan import Line, Plan
from counterbench.storage.files import atomic, read_bounded, require_regular


def save(plan: Plan, path: Path) -> None:
    """Write all questions, one row each; the ending decides: .parquet, .csv or .json.

    Raises:
        ConfigError: for another ending. RecordError: if it cannot be written.
    """
    require_format(path)
    rows = list(plan.lines())
    with atomic(path) as temporary:
        if path.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            columns = [list(column) for column in zip(*rows, strict=True)]
            table = pyarrow.table(dict(zip(Line._fields, columns, strict=True)))
            pyarrow.parquet.write_table(table, temporary)
        elif path.suffix == ".csv":
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(Line._fields)
            writer.writerows(_plain(row).values() for row in rows)
            temporary.write_text(text.getvalue(), encoding="utf-8")
        else:
            temporary.write_text(json.dumps([_plain(row) for row in rows], indent=0), encoding="utf-8")


def require_format(path: Path) -> None:
    """Raise ConfigError unless plans can be written to a file of this name."""
    if path.suffix not in (".parquet", ".csv", ".json"):
        raise ConfigError(
            f"{path}: a plan's name must end with .parquet, .csv or .json; a name without an ending is a folder of questions with images."
        )


def _plain(question: Line) -> dict[str, Any]:
    """A question as JSON and CSV know it: no NaN."""
    return {
        **question._asdict(),
        "then_value": None if question.then_value != question.then_value else question.then_value,
    }


_SET = {"null": 0, "single": 1, "return": 2, "pair": 2, "joint": 2, "sample": 0}
"""Kind of question -> how many interventions it makes."""


def _read_rows(path: Path) -> list[Line]:
    """All questions in a file, in its order.

    Raises:
        DataError: for a file that is no table of questions; it names the question and what is wrong with it.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        if path.suffix == ".csv":
            # With or without the mark that spreadsheets put at the beginning.
            text = read_bounded(path).decode("utf-8-sig")
            lines: Any = list(csv.DictReader(io.StringIO(text, newline="")))
        elif path.suffix == ".json":
            lines = json.loads(read_bounded(path).decode("utf-8-sig"))
        else:
            require_regular(path, None)
            lines = pyarrow.parquet.read_table(path, columns=list(Line._fields)).to_pylist()
        if not isinstance(lines, list):
            raise ValueError(f"it holds a {type(lines).__name__} instead of a list")
        for line in lines:
            if not isinstance(line, dict) or (lacking := [name for name in Line._fields if name not in line]):
                raise ValueError(
                    f"a question lacks {lacking[0]}" if isinstance(line, dict) else "a question is no table row"
                )
    except FileNotFoundError as error:
        raise DataError(f"There is no plan {path}; make one with: counterbench plan export.") from error
    except (OSError, pyarrow.ArrowException, ValueError, csv.Error, RecursionError) as error:
        why = str(error.strerror if isinstance(error, OSError) and error.strerror else error).splitlines()
        raise DataError(
            f"{path} is not a plan: expected parquet, csv or json with {', '.join(Line._fields)} ({why[0] if why else 'damaged'})."
        ) from error
    return [_question(line, f"{path}, question {number}") for number, line in enumerate(lines, 1)]


def _question(line: Mapping[str, Any], where: str) -> Line:
    """One line of a file, checked as far as it can be without the dataset."""
    for name in ("kind", "variable", "then"):
        if not isinstance(line[name] or "", str):
            raise DataError(f"{where}: {name} is {short(line[name])}; expected a word.")
    kind, row, value = line["kind"] or "", _number(line["row"]), _number(line["value"])
    if kind not in _SET:
        raise DataError(
            f"{where}: it is of the kind {short(kind)}; there are null, single, return, pair, joint and sample."
        )
    if (named := bool(line["variable"]) + bool(line["then"])) != _SET[kind] or (line["then"] and not line["variable"]):
        raise DataError(f"{where}: it names {named} variables; a {kind} question names {_SET[kind]}.")
    if kind in ("pair", "joint") and line["variable"] == line["then"]:
        raise DataError(f"{where}: it names {short(line['then'])} twice; a {kind} question names two variables.")
    if not row.is_integer():
        raise DataError(f"{where}: row is {short(line['row'])}; expected a whole number, a row of the test split.")
    if kind == "null" and not (value.is_integer() and 1 <= value <= MOST_CYCLES):
        raise DataError(
            f"{where}: the value of a null question is {short(line['value'])}; expected a whole number of repetitions, 1 to {MOST_CYCLES}."
        )
    if kind == "sample" and value != 1:
        raise DataError(f"{where}: the value of a sample is {short(line['value'])}; expected 1, for one image.")
    nothing = line["then_value"] in (None, "")
    then_value = float("nan") if nothing else _number(line["then_value"])
    return Line(kind, int(row), line["variable"] or "", value, line["then"] or "", then_value)


def _number(given: Any) -> float:
    """A number, as a number or in words; NaN for anything else."""
    try:
        return float("nan") if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def load(path: Path, dataset: Dataset) -> Plan:
    """Read questions that :func:`save` has written.

    Raises:
        DataError: if the file is not a plan, or not a whole one for this dataset.
    """
    asked: dict[tuple[str, str, str], list[Line]] = {}
    # In the order of the images, whatever the order in the file.
    for question in sorted(_read_rows(path), key=lambda question: question.row):
        asked.setdefault((question.kind, question.variable, question.then), []).append(question)
    rows = _require_whole(path, asked, dataset)

    def values(kind: str, field: str) -> dict[str, Tensor]:
        found = {name: q for (k, name, _), q in asked.items() if k == kind}
        return {
            name: _legal([getattr(question, field) for question in q], name, dataset, path) for name, q in found.items()
        }

    null = asked.get(("null", "", ""))
    plan = Plan(
        torch.tensor(rows),
        int(null[0].value) if null else 0,
        values("single", "value"),
        values("return", "then_value"),
        tuple((a, b) for kind, a, b in asked if kind == "pair"),
        tuple((a, b) for kind, a, b in asked if kind == "joint"),
        captions(dataset, torch.tensor(rows)) if ("sample", "", "") in asked else {},
    )
    questions = (question for several in asked.values() for question in several)
    if sorted(map(_rounded, plan.lines())) != sorted(map(_rounded, questions)):
        raise DataError(
            f"{path} is not a consistent plan: a return, pair or joint question uses another value than the single question about the same image and variable."
        )
    return plan


def _require_whole(path: Path, asked: Mapping[tuple[str, str, str], list[Line]], dataset: Dataset) -> list[int]:
    """The rows of the test split that a file asks about; DataError if it does not ask every question about each of them once."""
    if not asked:
        raise DataError(f"{path} holds no question.")
    total = len(next(iter(dataset.attributes("test").values())))
    rows = [question.row for question in next(iter(asked.values()))]
    if min(rows) < 0 or max(rows) >= total or len(set(rows)) < len(rows):
        raise DataError(
            f"{path} asks about rows that the test split of {dataset.card.name}/{dataset.source} does not have, or twice about one ({total} rows)."
        )
    for (_, *variables), questions in asked.items():
        for name in filter(None, variables):
            if name not in dataset.card.intervenable:
                raise DataError(
                    f"{path} sets {short(name)}, which {dataset.card.name} cannot.{suggestion(name, dataset.card.intervenable)}"
                )
        if [question.row for question in questions] != rows:
            raise DataError(f"{path} is incomplete: it does not ask every question about every image; export it again.")
    alone = {name for kind, name, _ in asked if kind == "single"}
    for kind, name, then in asked:
        if kind in ("return", "pair", "joint") and (lacking := sorted({name, then} - alone)):
            raise DataError(
                f"{path} asks a {kind} question about {lacking[0]!r} without the single one that its value comes from."
            )
    return rows


def _legal(given: list[float], name: str, dataset: Dataset, path: Path) -> Tensor:
    """Values that a variable may be set to, (N,); DataError for others."""
    values, variable, test = (
        torch.tensor(given, dtype=torch.float64),
        dataset.variables[name],
        dataset.attributes("test"),
    )
    try:
        variable.check(values)
        if isinstance(variable, Continuous):
            # What occurs in the data is legal, even where it lies outside the range that the card declares.
            seen = torch.cat([test[name], dataset.attributes("train")[name]])
            for value in (min(given), max(given)):
                if not seen.min() <= value <= seen.max():
                    variable.require_in_range(value)
    except DataError as error:
        raise DataError(f"{path} sets a value that cannot be: {error}") from error
    return values.to(test[name].dtype)


def _rounded(question: Line) -> str:
    """A question as it can be compared: values in single precision, as attributes are stored."""
    value, then = (float(np.float32(number)) for number in (question.value, question.then_value))
    return repr(question._replace(value=value, then_value=then))
