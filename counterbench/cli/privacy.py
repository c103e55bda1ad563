"""Commands about who comes out of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterbench.cli.base import data_options, main, put_json, put_table, quiet_option, say, show_progress

if TYPE_CHECKING:
    from rich.table import Table


@main.command("audit-filter")
@data_options
@click.option(
    "--verifier",
    "verifiers",
    multiple=True,
    help="contrastive, siamese or pixels; several; default: all that the card pins.",
)
@click.option(
    "--where",
    multiple=True,
    metavar="NAME=VALUE,...",
    help="Audit for training samples with these values; see `train`.",
)
@click.option("--limit", type=click.IntRange(min=2), default=None, help="The first N training samples.")
@click.option(
    "--false-positives",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Share of real images of others that the filter may take.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the noise.")
@click.option("--json", "as_json", is_flag=True, help="The numbers as JSON.")
@quiet_option
def audit_filter(
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    verifiers: tuple[str, ...],
    where: tuple[str, ...],
    limit: int | None,
    false_positives: float,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find out what a filter of re-identified images lets pass: training images with noise are planted, and images of others shown."""
    from counterbench import datasets
    from counterbench.audits.linkage import PIXELS
    from counterbench.catalog.recipes import RowsEntry
    from counterbench.datasets.selection import parsed, ranges, selected
    from counterbench.training.filtering import IndividualFilter

    show_progress(quiet)
    loaded = datasets.load(dataset, source, data_dir=data_dir)
    conditions = parsed(where)
    rows = selected(loaded, "train", RowsEntry.model_validate({"where": conditions, "limit": limit}))
    seen = {"which": ranges(rows), "where": conditions}
    pinned = [name for name in ("contrastive", "siamese") if name in loaded.card.recognisers]
    if not pinned and not verifiers:
        say(
            f"{dataset} pins no verifier of individuals (train-verifiers makes two); only nearest neighbours in pixels are left."
        )
    found = {
        name: IndividualFilter(loaded, name, seen=seen, false_positives=false_positives).audit(seed)
        for name in verifiers or (*pinned, PIXELS)
    }
    if as_json:
        put_json(json.dumps(found, indent=1))
        return
    put_table(lambda width, unicode: _table(found, width), 100)


def _table(found: dict[str, Any], width: int) -> Table:
    from rich.table import Table

    levels = list(next(iter(found.values()))["sensitivity"])
    table = Table(
        box=None,
        pad_edge=False,
        width=min(width, 100),
        title="Removed: training images with noise (standard deviation in grey levels); left: real images of others",
        title_justify="left",
    )
    table.add_column("filter", no_wrap=True)
    for level in levels:
        table.add_column(f"noise {level}", justify="right")
    table.add_column("others left", justify="right")
    for name, audit in found.items():
        removed = [f"{100 * audit['sensitivity'][level]:.0f} %" for level in levels]
        table.add_row(name, *removed, f"{100 * audit['specificity']:.0f} %")
    return table
