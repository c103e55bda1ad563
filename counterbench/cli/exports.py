"""Commands that write records in the formats of others."""

from __future__ import annotations

from pathlib import Path

import click

from counterbench.cli.base import main, put, records_argument

_RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")


@main.group()
def export() -> None:
    """Records in the formats of others: a model card, a shared store of results."""


@export.command("card")
@records_argument
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("card"),
    show_default=True,
    help="Folder that gets README.md, such as the trained model's.",
)
@click.option(
    "--license", "licence", default="", help="Of the weights, as the hub spells it: mit, apache-2.0, cc-by-4.0, ..."
)
@click.option("--dataset", default=None, help="Card of the data, if the dataset is not in the catalogue.")
def export_card(records: tuple[Path, ...], output: Path, licence: str, dataset: str | None) -> None:
    """Write the model card of one model from all RECORDS of it, in the format of the Hugging Face hub."""
    from counterbench.exchange import model_card

    put(model_card.export(records, output, licence=licence, dataset=dataset))


@export.command("every-eval-ever")
@records_argument
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("export"),
    show_default=True,
    help="Folder that gets data/.",
)
@click.option("--developer", required=True, help="Who made the model: the folder of the store.")
@click.option("--evaluator", default="unknown", show_default=True, help="Who ran the evaluation.")
@click.option(
    "--relationship",
    type=click.Choice(_RELATIONSHIPS),
    default="other",
    show_default=True,
    help="Of the evaluator to the developer.",
)
def export_every_eval_ever(
    records: tuple[Path, ...], output: Path, developer: str, evaluator: str, relationship: str
) -> None:
    """Write RECORDS in the schema of Every Eval Ever, which results of many libraries share."""
    from counterbench.exchange import every_eval_ever

    for record in records:
        put(every_eval_ever.export(record, output, developer=developer, evaluator=evaluator, relationship=relationship))
