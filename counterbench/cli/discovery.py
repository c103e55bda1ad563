"""Commands about the graph itself: what the attributes suggest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterbench.cli.base import SEED, data_options, main, put, put_json, put_table, quiet_option, say, show_progress

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from counterbench.causal.graph import CausalGraph
    from counterbench.discovery import Discovery, Observations


_WIDEST = 78
"""Characters of a table."""
only_option = click.option(
    "--only", default=None, metavar="NAME,...", help="Look at these variables; default: all that are one number."
)


@main.command()
@data_options
@click.option(
    "--csv",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Look at the columns of this file instead of a dataset.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    default=("score",),
    show_default=True,
    metavar="NAME[:OPTION=VALUE,...]",
    help="One or several; `list discoverers` names them.",
)
@only_option
@click.option(
    "--rows", type=click.IntRange(min=20), default=2000, show_default=True, help="How many samples, drawn at random."
)
@click.option(
    "--resamples",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="How often it is looked for again on drawn samples.",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("discovery"),
    show_default=True,
    help="Folder for graphs, numbers and pictures.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@quiet_option
def discover(
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    file: Path | None,
    methods: tuple[str, ...],
    only: str | None,
    rows: int,
    resamples: int,
    seed: int,
    output: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Look for a causal graph in the attributes of a dataset, or in a CSV file, and compare it with the known one."""
    from counterbench import datasets
    from counterbench.catalog.kinds import parsed_kind
    from counterbench.discovery import discover as found_by
    from counterbench.discovery.storing import report, store
    from counterbench.discovery.table import of_dataset, read_csv
    from counterbench.discovery.trying import readable
    from counterbench.pictures.discovered import draw_discovery
    from counterbench.storage.files import require_writable, slug

    show_progress(quiet)
    require_writable(output)
    loaded = None
    if file is not None:
        table = read_csv(file)
    else:
        loaded = datasets.load(dataset, source, data_dir=data_dir)
        table = of_dataset(loaded)
    table = _looked_at(table, only, rows, seed)
    reports = []
    for words in methods:
        kind, options = parsed_kind(words, "--method")
        looked_at, left_out = (table, []) if only is not None else readable(kind, table)
        if left_out:
            say(f"{kind} cannot read {', '.join(left_out)} beside the others: left out.")
        discovery = found_by(kind, looked_at, resamples=resamples, seed=seed, options=options)
        folder = output / slug(words)
        store(discovery, folder, dataset=loaded)
        draw_discovery(discovery, folder / "graph.png")
        reports.append(report(discovery))
        if not as_json:
            _put(discovery, reports[-1], words, folder)
    if as_json:
        put_json(json.dumps(reports, indent=1))


def _looked_at(table: Observations, only: str | None, rows: int, seed: int) -> Observations:
    """Some variables of a table, and so many of its rows."""
    import numpy as np

    names = [] if only is None else [name.strip() for name in only.split(",")]
    return table.only(names).first(rows, np.random.default_rng([seed]))


def _put(discovery: Discovery, told: dict[str, Any], words: str, folder: Path) -> None:
    """What a reader of the terminal wants to know."""
    put_table(lambda width, unicode: _table(discovery, told["edges"], words, width, unicode), _WIDEST)
    scores = told["comparison"]
    meanings = {
        "hamming": "pairs joined otherwise than known",
        "intervention": "effects that its parents would adjust wrongly",
        "order_errors": "known arrows that point backwards in its order",
    }
    for name, meaning in meanings.items():
        if scores.get(name) is not None:
            put(f"{meaning}: {scores[name]:.2f}" if name == "order_errors" else f"{meaning}: {scores[name]:.0f}")
    for warning in told["warnings"]:
        say(f"Warning: {warning}")
    if discovery.graph is None:
        say(
            "No graph.yaml: some pairs have no direction, or there is a cycle, so no model can be trained on it as it is."
        )
    put(str(folder))


def _titled(title: str, width: int) -> RichTable:
    """An empty table without lines."""
    from rich.markup import escape
    from rich.table import Table

    return Table(box=None, pad_edge=False, width=min(width, _WIDEST), title=escape(title), title_justify="left")


def _table(discovery: Discovery, edges: list[dict[str, Any]], words: str, width: int, unicode: bool) -> RichTable:
    from rich.markup import escape

    table = _titled(f"{words} on {discovery.table.title}, {len(discovery.table.values)} samples", width)
    table.add_column("arrow", overflow="fold")
    table.add_column("found", no_wrap=True)
    if discovery.truth is not None:
        table.add_column("known", no_wrap=True)
    if discovery.resamples:
        table.add_column("in resamples", justify="right", no_wrap=True)
    for row in edges:
        sign = {"undirected": "-"}.get(row["found"], "\u2192" if unicode else "->")
        cells = [escape(f"{row['cause']} {sign} {row['effect']}"), row["found"]]
        cells += [row["known"]] * (discovery.truth is not None)
        if discovery.resamples:
            cells.append(f"{row['frequency']:.0%}")
        table.add_row(*cells)
    return table


@main.command()
@data_options
@click.option(
    "--csv",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Test a graph against the columns of this file instead of a dataset; needs --graph.",
)
@click.option(
    "--graph",
    default=None,
    metavar="FILE|card|empty|reversed|full|discovered",
    help="Which graph; default: that of the card. With --csv a file, or empty.",
)
@only_option
@click.option(
    "--rows", type=click.IntRange(min=50), default=2000, show_default=True, help="How many samples, drawn at random."
)
@click.option(
    "--permutations",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="How many graphs with shuffled names it is held against.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Level of the tests.",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("refutation"),
    show_default=True,
    help="Folder for numbers and picture.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@quiet_option
def refute(
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    file: Path | None,
    graph: str | None,
    only: str | None,
    rows: int,
    permutations: int,
    alpha: float,
    seed: int,
    output: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Test whether the data refutes a graph: the independences that it implies, and the arrows that it draws."""
    from counterbench.discovery.refuting import refute as refuted
    from counterbench.discovery.refuting import report
    from counterbench.pictures.refuted import draw_refutation
    from counterbench.storage.files import require_writable, write_text

    show_progress(quiet)
    require_writable(output)
    table, tested = _table_and_graph(dataset, source, data_dir, file, graph, seed)
    table = _looked_at(table, only, rows, seed)
    found = refuted(table, tested, permutations=permutations, alpha=alpha, seed=seed)
    told = report(found)
    write_text(output / "refutation.json", json.dumps(told, indent=1) + "\n")
    draw_refutation(found, output / "refutation.png")
    if as_json:
        put_json(json.dumps(told, indent=1))
        return
    put_table(lambda width, unicode: _claims(told, width, unicode), _WIDEST)
    for sentence in told["sentences"]:
        put(sentence)
    put(str(output))


def _table_and_graph(
    dataset: str, source: str | None, data_dir: Path | None, file: Path | None, word: str | None, seed: int
) -> tuple[Observations, CausalGraph]:
    """The samples, and the graph that is tested on them."""
    from counterbench import datasets
    from counterbench.causal.graph import CausalGraph
    from counterbench.discovery.storing import read_graph
    from counterbench.discovery.table import of_dataset, read_csv
    from counterbench.errors import ConfigError
    from counterbench.training.graphs import parents_of

    if file is not None:
        if word is None:
            raise ConfigError("--csv has no card, so say which graph is tested: --graph FILE.")
        table = read_csv(file)
        if word == "empty":
            return table, CausalGraph(dict.fromkeys(table.names, ()))
        if not Path(word).is_file():
            raise ConfigError(f"--graph {word}: with --csv give a graph file that there is, or empty.")
        return table, CausalGraph(read_graph(Path(word)))
    loaded = datasets.load(dataset, source, data_dir=data_dir)
    given = loaded.graph if word in (None, "card") else CausalGraph(parents_of(str(word), loaded, seed=seed))
    return of_dataset(loaded), given


def _claims(told: dict[str, Any], width: int, unicode: bool) -> RichTable:
    """Every claim of a graph, with its test."""
    from rich.markup import escape

    table = _titled(told["title"], width)
    table.add_column("claim", overflow="fold")
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("correlation", justify="right", no_wrap=True)
    table.add_column("holds", no_wrap=True)
    signs = ("\u2192", "\u2aeb") if unicode else ("->", "indep. of")
    for claim in told["claims"]:
        given = f" | {', '.join(claim['given'])}" if claim["given"] else ""
        sign = signs[0] if claim["kind"] == "arrow" else signs[1]
        low, high = claim["interval"]
        cells = [f"{claim['correlation']:+.2f} [{low:+.2f}, {high:+.2f}]", "yes" if claim["holds"] else "NO"]
        table.add_row(
            escape(f"{claim['first']} {sign} {claim['second']}{given}"), f"{claim['p']:.2g}", *map(escape, cells)
        )
    return table
