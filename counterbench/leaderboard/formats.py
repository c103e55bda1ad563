"""A leaderboard as Markdown, CSV, LaTeX and JSON. Imports no torch."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from counterbench.catalog.agreement import measured_agreement
from counterbench.leaderboard import worst
from counterbench.leaderboard.board import BOARDS, Board, Row
from counterbench.leaderboard.order import Place
from counterbench.records.estimate import Estimate
from counterbench.records.record import CEILINGS
from counterbench.records.table import ARROWS, beaten, interval, label, show, where
from counterbench.records.totals import BY, Key
from counterbench.runtime.terminal import one_line

SCHEMA = 2
"""Version of the JSON that :func:`to_json` gives."""
_FIELDS = (*BY, "unit", "direction", "model", "kind", "value", "low", "high", "n", "rank", "no_rank", "leaked", "marks")
_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_TEX_ARROWS = {
    "lower": r"$\downarrow$",
    "higher": r"$\uparrow$",
    "one": r"$\to 1$",
    "zero": r"$\to 0$",
    "half": r"$\to \frac12$",
}


def pages(boards: Sequence[Board]) -> dict[str, str]:
    """Everything but the website: name of a file -> its text."""
    made = {f"{board.name}.md": markdown(board) for board in boards}
    made |= {f"{board.name}.tex": latex(board) for board in boards}
    return {**made, "leaderboard.csv": to_csv(boards), BOARDS: json.dumps(to_json(boards), indent=1) + "\n"}


def markdown(board: Board) -> str:
    """One table per metric: numbers in rows, models in columns, floors and ceilings apart."""
    ends = list(board.ends)
    lines = [
        f"# {plain_text(f'{board.dataset} / {board.source}, suite {board.exam}')}",
        "",
        *_summary(board),
        "",
        f"Behind a value its rank, in brackets the 95 % interval. Ranks are paired: 1 and how many rows, baselines included, are better beyond "
        "chance and by more than 1 % of the scale. No rank: only who makes the change that was asked is ranked for what stayed as it was. "
        "A star: some baseline that answers nothing does at least as well, so the number alone proves nothing. "
        f"Right of the models, rows that answer nothing ({', '.join(name for name in ends if name not in CEILINGS)}) and ceilings "
        f"({', '.join(name for name in ends if name in CEILINGS)}).",
        "",
    ]
    lines += _worst(board)
    for metric in board.metrics:
        keys = [key for key in board.columns if key[0] == metric]
        lines += [f"## {plain_text(metric.replace('_', ' '))}", ""]
        lines.append("| | " + " | ".join([*(f"**{plain_text(row.name)}**" for row in board.rows), *ends]) + " |")
        lines.append("|---|" + "---|" * (len(board.rows) + len(ends)))
        for key in keys:
            number = board.columns[key]
            name = ", ".join(filter(None, (label(number), where(number))))
            cells = [_cell(row, key) for row in board.rows]
            cells += [_end(board.ends[end], key) for end in ends]
            lines.append(f"| {plain_text(name)} {ARROWS[number.direction]} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join([*lines, *(f"- {plain_text(note)}" for note in board.notes)]).rstrip() + "\n"


def plain_text(text: str) -> str:
    """Somebody's words in Markdown: no markup, no column of a table, no heading or list, no line of their own."""
    escaped = re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", one_line(text))
    return re.sub(r"^(\s*)([#=+-]|\d+[.)](?=\s))", r"\1\\\2", escaped)


def _summary(board: Board) -> list[str]:
    """Models and baselines by row skill, with marks and costs."""
    lines = [
        *(plain_text(sentence) for sentence in about_order(board)),
        "",
        "| place | | row skill | change skill | beaten by doing nothing | weights | remarks |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in board.lines:
        name = plain_text(line.name)
        cells = [show_place(line.place), f"**{name}**" if line.row else f"*{name}*", _with_interval(line.skill)]
        cells += _of_model(line.row) if line.row else ["-", "-", "-", "-"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _worst(board: Board) -> list[str]:
    """Row skill in the worst subgroup, a table for every division."""
    lines = []
    for table in worst.of_board(board):
        lines += [
            f"## Worst subgroup by {plain_text(table['by'])}",
            "",
            "Row skill; the intervals hold for whichever subgroups are truly worst and best.",
            "",
            "| | all images | worst subgroup | there | gap to the best |",
            "|---|---|---|---|---|",
        ]
        for row in table["rows"]:
            there, gap = f"{row['worst']} {row['interval']}", f"{row['gap']} {row['gap_interval']}"
            name, which = plain_text(row["name"]), plain_text(row["which"])
            lines.append(f"| **{name}** | {row['all']} | {which} | {there} | {gap} |")
        lines.append("")
    return lines


def _of_model(row: Row) -> list[str]:
    change = "-" if row.change_skill is None else show(row.change_skill)
    remarks = plain_text("; ".join(row.marks)) or "-"
    return [change, "on {} of {}".format(*row.beaten), f"{row.record.parameters:,}", remarks]


def _with_interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return show(estimate.value) if estimate.low is None else f"{show(estimate.value)} {interval(estimate)}"


def _cell(row: Row, key: Key) -> str:
    number = row.number(key)
    if number is None:
        return "-"
    rank = f" ({row.ranks[key]})" if key in row.ranks else ""
    ends = "" if number.low is None else f" {interval(number)}"
    leaked = " LEAKED" if number.leaked else ""
    star = r"\*" if beaten(number) else ""
    return f"{show(number.value)}{star}{rank}{ends}{leaked}"


def _end(estimates: Mapping[Key, Estimate], key: Key, missing: str = "-") -> str:
    return show(estimates[key].value) if key in estimates else missing


def to_csv(boards: Iterable[Board]) -> str:
    """One line per number and row, in full precision; floors and ceilings are rows too."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["dataset", "source", "suite", *_FIELDS], lineterminator="\n")
    writer.writeheader()
    for board in boards:
        for line in _lines(board):
            line = {"dataset": board.dataset, "source": board.source, "suite": board.exam, **line}
            writer.writerow({name: _no_formula(cell) if isinstance(cell, str) else cell for name, cell in line.items()})
    return text.getvalue()


def _no_formula(cell: str) -> str:
    """Somebody's words in a cell of a spreadsheet: never something that it computes."""
    text = one_line(cell)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _lines(board: Board) -> Iterable[dict[str, Any]]:
    for key, column in board.columns.items():
        about = {**dict(zip(BY, key, strict=True)), "unit": column.unit, "direction": column.direction}
        for row in board.rows:
            number = row.number(key)
            if number is not None:
                yield {
                    **about,
                    "model": row.name,
                    "kind": "model",
                    **_plain(number),
                    "rank": row.ranks.get(key),
                    "no_rank": row.barred.get(key, ""),
                    "leaked": number.leaked,
                    "marks": "; ".join(row.marks),
                }
        for name in board.ends:
            if key in board.ends[name]:
                kind = "ceiling" if name in CEILINGS else "floor"
                yield {**about, "model": name, "kind": kind, **_plain(board.ends[name][key])}


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {name: getattr(estimate, name) for name in ("value", "low", "high", "n")}


def to_json(boards: Iterable[Board]) -> dict[str, Any]:
    """Plain data for other leaderboards: everything that is on the boards, and where it comes from."""
    return {"schema": SCHEMA, "boards": [_board(board) for board in boards]}


def _board(board: Board) -> dict[str, Any]:
    models = [
        {
            "name": row.name,
            "title": row.record.title,
            "record": row.record.inputs.hash,
            "weights_sha256": row.record.inputs.weights_sha256,
            "parameters": row.record.parameters,
            "images": row.record.images,
            "device": row.record.device,
            "seconds": row.record.seconds.get("total"),
            "training_seeds": row.record.seeds,
            "marks": list(row.marks),
            "change_skill": row.change_skill,
            "beaten_by_doing_nothing": list(row.beaten),
        }
        for row in board.rows
    ]
    return {
        "dataset": board.dataset,
        "source": board.source,
        "suite": board.suite,
        **({} if board.exam_seed is None else {"exam_seed": board.exam_seed}),
        "notes": list(board.notes),
        "order": [
            {
                "name": line.name,
                "kind": "model" if line.row else "baseline",
                "row_skill": None if line.skill is None else _plain(line.skill),
                "rank": line.place and line.place.rank,
                "last_rank": line.place and line.place.last,
            }
            for line in board.lines
        ],
        "resolution": board.ranking.order.resolution,
        "models": models,
        "numbers": list(_lines(board)),
    }


def show_place(place: Place | None) -> str:
    """`2`, or `2-4` where some rows cannot be told apart; a dash where it could not be compared."""
    if place is None:
        return "-"
    return str(place.rank) if place.last == place.rank else f"{place.rank}-{place.last}"


def about_order(board: Board) -> list[str]:
    """What a reader must know of the order of a board."""
    if not any(line.skill for line in board.lines):
        return ["This board has no order: no record says how near to the true counterfactuals its answers are."]
    told = "Rows are ordered by row skill: 0 for doing nothing, 1 for the true counterfactuals, below 0 what is farther from them."
    resolution = board.ranking.order.resolution
    first = told + (
        "" if resolution is None else f" Neighbouring rows closer than {show(resolution)} cannot be told apart."
    )
    return [first, *_about_estimate(board)]


def _about_estimate(board: Board) -> list[str]:
    """Which part of the order is an estimate, and how far to believe it."""
    skills = [row.record.row_skill for row in board.rows if row.record.row_skill is not None]
    names = {part.intervened for skill in skills for part in skill.parts if part.by == "estimate" and not part.left_out}
    if not names:
        return []
    told = f"Of {', '.join(f'do({name})' for name in sorted(names))} nobody knows the true counterfactuals: there the row skill is estimated."
    known = measured_agreement().get(board.dataset)
    if known is None:
        return [f"{told} How well the estimate orders rows of this dataset has not been measured."]
    value, low, high = known.tau
    return [
        f"{told} On {board.dataset} / {known.source}, where the truth is known, the order by the estimate agrees with the order by the truth with "
        f"Kendall's tau {value:.2f} [{low:.2f}, {high:.2f}] over {known.compared} rows, and {known.exact[0]:.2f} among learned rows that lose nothing."
    ]


def latex(board: Board) -> str:
    r"""A table with booktabs: headline numbers in rows, models in columns, the best rank bold; floor and ceiling beside them."""
    ends = [name for name in ("identity", "truth", "real") if name in board.ends]
    names = [_tex(row.name) + (r"$^\ddagger$" if row.marks else "") for row in board.rows]
    width = len(names) + len(ends) + 1
    lines = [
        f"% {board.name}: made by counterbench; needs \\usepackage{{booktabs}}",
        r"\begin{tabular}{l" + "r" * len(board.rows) + ("|" if ends else "") + "r" * len(ends) + "}",
        r"\toprule",
        " & ".join(["", *names, *ends]) + r" \\",
    ]
    for metric in board.metrics:
        keys = [key for key, number in board.columns.items() if key[0] == metric and number.role != "resource"]
        if not keys:
            continue
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{_tex(metric.replace('_', ' '))}}}}} \\"]
        for key in keys:
            number = board.columns[key]
            cells = [_tex_cell(row, key, board) for row in board.rows]
            cells += [_end(board.ends[name], key, "--") for name in ends]
            name = " ".join(filter(None, (where(number), label(number))))
            lines.append(" & ".join([f"{_tex(name)} {_TEX_ARROWS[number.direction]}", *cells]) + r" \\")
    told = [
        r"$^*$ a baseline that answers nothing (identity, noise, retrieve, resample) does at least as well",
        *(
            [r"$^\dagger$ trained against a judge behind this number"]
            if any(row.record.leaked for row in board.rows)
            else []
        ),
        *(rf"$^\ddagger$ {_tex(row.name)}: {_tex('; '.join(row.marks))}" for row in board.rows if row.marks),
        *map(_tex, board.notes),
    ]
    lines += [r"\bottomrule", *(rf"\multicolumn{{{width}}}{{l}}{{\footnotesize {line}}} \\" for line in told)]
    return "\n".join([*lines, r"\end{tabular}", ""])


def _tex_cell(row: Row, key: Key, board: Board) -> str:
    number = row.number(key)
    if number is None:
        return "--"
    shown = show(number.value) + (r"$^*$" if beaten(number) else "") + (r"$^\dagger$" if number.leaked else "")
    if number.low is not None and number.high is not None:
        shown = f"{shown}\\,{{\\scriptsize[{show(number.low)}, {show(number.high)}]}}"
    ranks = {other.ranks[key] for other in board.rows if key in other.ranks}
    return rf"\textbf{{{shown}}}" if len(ranks) > 1 and row.ranks.get(key) == min(ranks) else shown


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in one_line(text))
