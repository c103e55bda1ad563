"""What the documentation site makes by itself: the front page from the README, the command line's help, the list of boards, and the
Python reference. Links to files outside of docs/ become their paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = (
    "counterbench.api",
    "counterbench.contracts.checking",
    "counterbench.causal.graph",
    "counterbench.causal.variables",
    "counterbench.causal.samples",
    "counterbench.causal.chance",
    "counterbench.models.model",
    "counterbench.models.scm",
    "counterbench.models.answering",
    "counterbench.models.image_only",
    "counterbench.mechanisms.base",
    "counterbench.mechanisms.spline_flow",
    "counterbench.mechanisms.categorical",
    "counterbench.mechanisms.bernoulli",
    "counterbench.mechanisms.empirical",
    "counterbench.mechanisms.vae",
    "counterbench.mechanisms.hvae",
    "counterbench.mechanisms.gan",
    "counterbench.mechanisms.generative_ode",
    "counterbench.mechanisms.unet_ode",
    "counterbench.mechanisms.flow_matching",
    "counterbench.mechanisms.diffusion",
    "counterbench.mechanisms.monai_diffusion",
    "counterbench.mechanisms.monai_latent_diffusion",
    "counterbench.mechanisms.monai_vqvae",
    "counterbench.mechanisms.monai_bundle",
    "counterbench.mechanisms.capabilities",
    "counterbench.training.objectives.base",
    "counterbench.datasets.dataset",
    "counterbench.judges.base",
    "counterbench.features.base",
    "counterbench.metrics.base",
    "counterbench.metrics.on_tensors",
    "counterbench.metrics.answers",
    "counterbench.metrics.truth",
    "counterbench.metrics.minimality",
    "counterbench.metrics.statistics.classification",
    "counterbench.metrics.statistics.distributions",
    "counterbench.metrics.statistics.neighbours",
    "counterbench.metrics.statistics.reading",
    "counterbench.metrics.statistics.structural_similarity",
    "counterbench.exchange.pipelines",
    "counterbench.plans.plan",
    "counterbench.records.record",
    "counterbench.records.intervals",
    "counterbench.leaderboard.scored",
    "counterbench.leaderboard.paired",
    "counterbench.leaderboard.comparison",
    "counterbench.leaderboard.board",
    "counterbench.errors",
)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made here."""
    from mkdocs.structure.files import File

    for name, text in made().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links that leave docs/ as the path that they lead to."""
    home = (DOCS / page.file.src_uri).parent

    def told(match: re.Match[str]) -> str:
        words, target = match.groups()
        if target.startswith(("http", "#", "mailto:")):
            return match.group(0)
        path = (home / target.split("#")[0]).resolve()
        if path.is_relative_to(DOCS) and not path.is_dir():
            return match.group(0)
        return f"{words} (`{path.relative_to(ROOT)}`)"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", told, markdown)


def made() -> dict[str, str]:
    """Name of a page -> its text."""
    return {"index.md": front(), "cli.md": commands(), "boards.md": boards(), "reference.md": reference()}


def front() -> str:
    """The README, with links as they are from docs/."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.sub(r"\]\((?!http|#)(?:docs/)?", lambda match: "](" if "docs/" in match.group(0) else "](../", text)


def commands() -> str:
    """Every command with its help."""
    import click

    from counterbench.cli import main

    lines = [
        "# Command line",
        "",
        "Results go to stdout, progress and messages to stderr. A mistake ends with one sentence and a status "
        "other than 0 (2 for an unknown name, 130 after Ctrl-C or SIGTERM, 141 where nobody reads its output any more).",
        "",
    ]

    def tell(command: click.Command, path: tuple[str, ...]) -> None:
        context = click.Context(command, info_name=" ".join(path), max_content_width=100)
        if not isinstance(command, click.Group) or path == ("counterbench",):
            lines.extend([f"## {' '.join(path)}", "", "```text", command.get_help(context), "```", ""])
        if isinstance(command, click.Group):
            for name, inner in sorted(command.commands.items()):
                tell(inner, (*path, name))

    tell(main, ("counterbench",))
    return "\n".join(lines)


def boards() -> str:
    """Links to the committed boards."""
    lines = [
        "# Leaderboards",
        "",
        "Of the published records, as they are in `benchmarks/records`; `counterbench leaderboard build --records "
        "benchmarks/records` makes a website of them. [How to read them](leaderboard.md).",
        "",
    ]
    lines += [f"- [{path.stem}](leaderboard/{path.name})" for path in sorted((DOCS / "leaderboard").glob("*.md"))]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """Docstrings of the modules that users meet."""
    lines = [
        "# Python",
        "",
        "Natural units outside of a mechanism (px, grey levels, class numbers), encoded values inside. Every tensor has "
        "samples along its first axis.",
        "",
    ]
    return "\n".join([*lines, *(f"::: {module}\n" for module in REFERENCE)])
