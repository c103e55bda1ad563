"""Makes the generated pages and figures of the documentation.

    python docs/make.py            # pages, from the metrics' own declarations and from benchmarks/records
    python docs/make.py --figures  # the figures as well: every metric on the toy process of tests/toy.py

Pages say what the code says: a test makes them again and compares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the toy process, a plug-in
PAGES, IMAGES = ROOT / "docs" / "metrics", ROOT / "docs" / "metrics" / "images"
RECORDS = ROOT / "benchmarks" / "records" / "morphomnist-digits" / "standard"
SHOWN = "hvae"
"""The shipped model that tables outside the comparison show."""
ORDER = (
    "composition",
    "reversibility",
    "commutativity",
    "effectiveness",
    "off_target",
    "truth",
    "percentage_error",
    "minimality",
    "realism",
    "identity_preservation",
    "abduction",
    "cost",
)
ROWS = ("identity", "noise", "retrieve", "resample", "truth", "real")
BEST = {
    "lower": "lower is better",
    "higher": "higher is better",
    "one": "best is 1",
    "zero": "best is 0",
    "half": "best is 1/2",
}

READ = {
    "composition": "The left figure: models that keep a share of the noise at every pass; a share of one is a perfect copy. Right: "
    "the same after noise was added to every answer.",
    "reversibility": "A model that loses part of the individual on the way does not find back; noise counts as well.",
    "commutativity": "A model whose answers depend on the order scores above 0, however good each single answer is.",
    "effectiveness": "Left: the share of the true change that is made; the skill passes 0 where nothing is done and 1 at the truth. "
    "Right: noise costs little here, because the toy's judge averages over many pixels: a blurred or noisy image can be effective.",
    "off_target": "Left: the image of do(b) drags a along by a share of the change; the score is that share, in standard deviations.",
    "truth": "Left: effect follows the share of the true change that is made, 0 for doing nothing, 1 for the truth. Right: amplification "
    "is the length of everything beside it.",
    "percentage_error": "The effect of do(a) on b is made by a share; the error is 0 where all of it is. It is large because some true values "
    "of b lie close to 0: see above.",
    "minimality": "Left: CLD starts at 0.2954 whatever the data, and its best value is not where the truth is (dotted): this is why it "
    "is never read alone. Right: excess change is 0 at the truth.",
    "realism": "Left: in this space the toy's images of other attributes are real as well, so the distance hardly sees whether the "
    "change was made. Right: noise is seen at once.",
    "identity_preservation": "Doing nothing is perfect, the truth is not (dotted), and a change that is too large costs most. Noise "
    "costs little in this space: use one that sees what makes an individual.",
    "abduction": "Left: noise that is too narrow or too wide is told from the prior; 1 is right. Right: how much of a parent the "
    "noise holds, against how much can be read off it.",
    "cost": "A network that is used k times for one answer has k evaluations, whatever the machine.",
}


def declared(name: str) -> Any:
    """The class of a metric."""
    from counterbench.plugins import registry

    return registry.metrics.get(name)


def toy_setting() -> tuple[Any, Any]:
    """The toy process, and everything a metric may know about it."""
    import asked
    import toy

    dataset = toy.Toy()
    return dataset, asked.setting(dataset)


def page(name: str, cells: list[Any]) -> str:
    """One metric, as Markdown."""
    metric = declared(name)
    quantities: dict[str, Any] = {}
    for cell in cells:
        quantities.setdefault("cld" if cell.quantity.startswith("cld_") else cell.quantity, cell)
    rows = [f"| {quantity} | {cell.unit or '-'} | {BEST[cell.direction]} |" for quantity, cell in quantities.items()]
    asks = ", ".join(sorted(metric.asks))
    lines = [
        f"# {metric.title}",
        "",
        f"`{name}` · questions: {asks} · [source](../../counterbench/metrics/{name}.py)",
        "",
        metric.definition,
        "",
        metric.formula,
        "",
        "| quantity | unit | direction |",
        "|---|---|---|",
        *rows,
        "",
        "## What it cannot tell, and how it is fooled",
        "",
        metric.blind_to,
        "",
        *measured(name),
        "## On the toy process",
        "",
        f"![{metric.title} on the toy process](images/{name}.png)",
        "",
        READ[name],
        "",
        "The toy process (`tests/toy.py`) is linear and Gaussian, its counterfactuals are known in closed form, and its judge reads "
        "the attributes off the image exactly.",
        "",
        "## Source",
        "",
        metric.source,
        "",
    ]
    return "\n".join(lines)


def measured(name: str) -> list[str]:
    """The baselines' numbers on the default source, if a record is there."""
    record = stored(SHOWN)
    if record is None or name in ("cost", "abduction"):
        return []
    from counterbench.records.table import label, show

    lines = [
        "Measured on MorphoMNIST (source `digits`, suite `standard`):",
        "",
        f"| | {SHOWN} | " + " | ".join(ROWS) + " |",
        "|---|" + "---|" * (len(ROWS) + 1),
    ]
    for number in record.numbers:
        if number.metric == name and not number.detail:
            ends = [number.references.get(row) for row in ROWS]
            values = [show(number.value), *("-" if end is None else show(end.value) for end in ends)]
            what = f"do({number.intervened}) " if number.intervened else ""
            lines.append(f"| {what}{label(number)} | " + " | ".join(values) + " |")
    return [*lines, ""]


def stored(model: str) -> Any:
    """The published record of a model, or None."""
    path = RECORDS / f"{model}.json"
    return stored_at(path) if path.is_file() else None


def stored_at(path: Path) -> Any:
    """The record in a file."""
    from counterbench.records.record import read_record

    return read_record(path)


def index() -> str:
    """The list of all metrics."""
    lines = [
        "# Metrics",
        "",
        "Every number comes with its N, a 95 % interval, its direction, and the same number for the baselines: doing nothing, noise, "
        "real images with the right attributes, the truth. [What each metric can be fooled by](../fooled.md) has them all.",
        "",
        "| metric | asks | what it cannot tell |",
        "|---|---|---|",
    ]
    for name in ORDER:
        metric = declared(name)
        lines.append(f"| [{metric.title}]({name}.md) | {', '.join(sorted(metric.asks))} | {metric.blind_to} |")
    return "\n".join([*lines, ""])


def fooled() -> str:
    """What wins what, from the published record."""
    record = stored(SHOWN)
    assert record is not None
    from counterbench.records.record import FLOORS
    from counterbench.records.table import beaten_by, heading, show

    numbers = [number for number in record.numbers if not number.detail and number.metric not in ("cost", "abduction")]
    lines = [
        "# What each metric can be fooled by",
        "",
        "A metric that an image without any answer wins says nothing when it is printed alone. So every table of counterbench shows "
        "these rows, which anybody can evaluate as a model (`counterbench evaluate --model identity`):",
        "",
        "| row | what it returns |",
        "|---|---|",
        "| identity | the image unchanged |",
        "| noise | the image with white noise of 10 grey levels |",
        "| retrieve | the real training image with the wanted attributes that looks most like the factual one |",
        "| resample | a random real training image with the wanted attributes: another individual |",
        "| truth | the true counterfactual, where the process is known |",
        "| real | factual images with their own attributes: what the judges get wrong by themselves |",
        "",
        "## Fixed points",
        "",
        "They follow from the definitions, whatever the data; tests hold them (`tests/metrics/test_fixed_points.py`).",
        "",
        "| metric | identity | truth |",
        "|---|---|---|",
        "| composition, reversibility, commutativity | 0 | 0 |",
        "| effectiveness: skill | 0 | 1, up to the judges' error |",
        "| off-target change | 0 | 0, up to the judges' error |",
        "| truth: effect, amplification | 0, 0 | 1, 0 |",
        "| minimality: CLD (0.8, 0.2) | ln(0.8 + 0.2 e) = 0.2954 | - |",
        "| minimality: CLD (1, 1) | ln(1 + e) = 1.3133 | - |",
        "| minimality: excess change | minus the true change | 0 |",
        "| identity preservation | 0 | above 0 |",
        "",
        "Only truth has both fixed points where they belong. Effectiveness has them up to its judges, but cannot tell one "
        "individual from another.",
        "",
        "## Measured",
        "",
        f"MorphoMNIST, source `digits`, suite `standard`, {record.images} test images; `{SHOWN}` is a shipped model. A star marks what a "
        "row without any answer (the first four) does at least as well as the model.",
        "",
        f"| | {SHOWN} | " + " | ".join(ROWS) + " |",
        "|---|" + "---|" * (len(ROWS) + 1),
    ]
    for number in numbers:
        cells = [show(number.value)]
        for row in ROWS:
            end = number.references.get(row)
            star = "\\*" if row in FLOORS and beaten_by(number, row) else ""
            cells.append("-" if end is None else show(end.value) + star)
        lines.append(f"| {heading(number)} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *lessons(record)])


def table_text(record: Any, detail: bool) -> str:
    """The table as the command line prints it."""
    from counterbench.records import table

    return table.as_text(record, detail)


def results() -> str:
    """Every number of the shipped model, with the pictures."""
    record = stored(SHOWN)
    lines = [
        "# Results on the default source",
        "",
        f"`counterbench evaluate --model {SHOWN} --dataset morphomnist --detail`, made by counterbench "
        f"{record.inputs.counterbench} on {record.device} in {record.seconds['total']:.0f} s. The record is "
        f"[benchmarks/records/morphomnist-digits/standard/{SHOWN}.json](../benchmarks/records/morphomnist-digits/standard/{SHOWN}.json).",
        "",
        "```",
        table_text(record, True),
        "```",
        "",
        "## What the answers look like",
        "",
        "The shipped model; each row one test image, each block an intervention: the answer, the truth, the change.",
        "",
        "![Answers of the shipped model](images/grid.png)",
        "",
        "The GAN: sharp, of the right class, and another person's writing.",
        "",
        "![Answers of the GAN](images/grid-gan.png)",
        "",
        "`retrieve`, a real training image with the wanted attributes: effective, realistic, and somebody else's handwriting.",
        "",
        "![Answers of the baseline retrieve](images/grid-retrieve.png)",
        "",
        "## Compared",
        "",
        "`counterbench compare` of the two: right of the line the model is better, left of it the baseline.",
        "",
        "![Paired differences between the model and retrieve](images/comparison.png)",
        "",
    ]
    return "\n".join(lines)


MODELS = ("vae", "hvae", "gan")
PUBLISHED = ROOT / "benchmarks" / "published" / "melistas2024-morphomnist.yaml"
COMPARED = (("mnist", "paper"), ("mnist", "standard"), ("digits", "paper"), ("digits", "standard"))


def comparison() -> str:
    """Our models beside the published table, from the records that are there."""
    lines = [(ROOT / "docs" / "comparison.in.md").read_text(encoding="utf-8").rstrip(), ""]
    for source, suite in COMPARED:
        folder = RECORDS.parents[1] / f"morphomnist-{source}" / suite
        records = {path.stem: stored_at(path) for path in sorted(folder.glob("*.json"))}
        shown = [model for model in MODELS if model in records]
        if shown:
            lines += [f"## Source `{source}`, suite `{suite}`", "", *_beside(records, shown, source), ""]
    return "\n".join(lines)


def _beside(records: dict[str, Any], shown: list[str], source: str) -> list[str]:
    """Published numbers, ours and the baselines', row by row."""
    from counterbench.records.table import show

    first = records[shown[0]]
    rows = [name for name in ROWS if any(name in number.references for number in first.numbers)]
    published = [f"published {model}" for model in MODELS] if source == "mnist" else []
    lines = [
        f"{first.images:,} test {'images' if 'noise' in rows else 'samples'}, {first.clusters:,} independent units, seed {first.inputs.seed}, counterbench "
        f"{first.inputs.counterbench}. In square brackets: 95 % interval.",
        "",
        "| | " + " | ".join([*published, *(f"**{model}**" for model in shown), *rows]) + " |",
        "|---|" + "---|" * (len(published) + len(shown) + len(rows)),
    ]
    theirs = _published() if source == "mnist" else {}
    for what, keys, number in _numbers(first):
        ours = [[records[model].by_key[key] for key in keys if key in records[model].by_key] for model in shown]
        if not all(ours):
            continue
        known = theirs.get(number.key if len(keys) == 1 else _anywhere(number.key), {})
        cells = ["-" if model not in known else show(known[model][0]) for model in MODELS] if published else []
        cells += [_with_interval(found) for found in ours]
        ends = [[one.references.get(row) for one in ours[0]] for row in rows]
        cells += ["-" if None in end else show(sum(one.value for one in end) / len(end)) for end in ends]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return lines


def _numbers(record: Any) -> list[tuple[str, list[Any], Any]]:
    """(label, keys that are averaged, the first number) of every row of the comparison."""
    from counterbench.records.table import label

    wanted = ("composition", "effectiveness", "truth", "percentage_error", "realism", "minimality")
    chosen = [number for number in record.numbers if number.metric in wanted and not number.detail]
    rows: list[tuple[str, list[Any], Any]] = []
    for number in chosen:
        what = (
            f"{number.metric} do({number.intervened}) {label(number)}"
            if number.intervened
            else f"{number.metric} {label(number)}"
        )
        if number.quantity == "cld_0.8_0.2":
            same = [other for other in chosen if _anywhere(other.key) == _anywhere(number.key)]
            if number is same[0]:
                rows.append(
                    (f"minimality, mean over interventions: {label(number)}", [one.key for one in same], number)
                )
            continue
        rows.append((what, [number.key], number))
    return rows


def _anywhere(key: Any) -> Any:
    return (key[0], key[1], "any", *key[3:])


def _with_interval(found: list[Any]) -> str:
    from counterbench.records.table import show

    if len(found) > 1 or found[0].low is None:
        return show(sum(one.value for one in found) / len(found))
    return f"{show(found[0].value)} [{show(found[0].low)}, {show(found[0].high)}]"


def _published() -> dict[Any, Any]:
    import yaml

    listed = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))["numbers"]
    return {tuple(entry["key"]): entry for entry in listed}


CARDS = ("morphomnist", "celeba-simple", "celeba-complex", "adni", "adni-192", "ellipse")
SHEETS = {"celeba-simple": "portraits", "celeba-complex": "portraits", "adni": "phantom"}
"""Datasets whose samples are drawn for the documentation: card -> source."""
GRIDS = {"adni": ("hvae", {"ventricular_volume": "90"}), "celeba-complex": ("hvae", {"male": "1", "young": "0"})}
"""card -> the model and the intervention of a grid of answers."""


def dataset_pages() -> str:
    """Every dataset of the catalogue, from its card, with what our models score on it."""
    lines = [
        "# Datasets",
        "",
        "Every dataset is a card: its variables and their graph, where the pixels come from, who judges, what is known to be wrong. "
        "An embedded source needs no download: its pictures are made here by a known process, so that true counterfactuals exist and "
        "methods can be compared, and debugged, before the published data is at hand. `counterbench show NAME` prints a card, "
        "`counterbench data draw --dataset NAME` draws samples and true counterfactuals, and "
        "[bring your own](bring-your-own.md) says how to add one.",
        "",
        "| dataset | graph | embedded | published |",
        "|---|---|---|---|",
    ]
    from counterbench import datasets

    cards = [datasets.card(name) for name in CARDS]
    for card in cards:
        given = {
            flag: [name for name, entry in card.sources.items() if entry.embedded is flag] for flag in (True, False)
        }
        graph = "; ".join(card.graph.text().split("\n")[-1:])
        lines.append(
            f"| [{card.name}](#{card.name}) | {graph} | {', '.join(given[True]) or '-'} | {', '.join(given[False]) or '-'} |"
        )
    for card in cards:
        lines += ["", f"## {card.name}", "", *_dataset(card)]
    return "\n".join([*lines, ""])


def _dataset(card: Any) -> list[str]:
    """One card."""
    lines = [
        card.description.strip(),
        "",
        "```",
        card.graph.text(),
        "```",
        "",
        "| variable | kind | meaning |",
        "|---|---|---|",
    ]
    for name, variable in card.build_variables().items():
        words = card.variables[name].description or "-"
        lines.append(f"| {name} | {variable.describe()} | {words} |")
    lines.append("")
    for name, source in card.sources.items():
        counts = ", ".join(f"{count:,} {split}" for split, count in source.sizes.items())
        default = ", the default" if name == card.default_source else ""
        lines.append(
            f"- **`{name}`** ({'embedded' if source.embedded else 'published data'}{default}): {source.description.strip()} "
            + (f"{counts}. " if counts else "")
            + f"Licence: {source.licence}."
            + (f" {source.citation}" if source.citation else "")
        )
    lines += ["", f"**Truth.** {card.truth.strip()}", ""]
    if card.judges:
        lines += ["**Judges**, with their error on real test images:", ""]
        for name, entries in card.judges.items():
            for entry in entries:
                kind = f"{entry.judge} {entry.options.get('architecture', '')}".strip()
                found = "; ".join(
                    f"{source}: " + ", ".join(f"{what.replace('_', ' ')} {value:g}" for what, value in figures.items())
                    for source, figures in entry.quality.items()
                )
                lines.append(f"- {name}: {kind} ({found})")
        lines.append("")
    if card.roles:
        carried = ", ".join(f"{name} ({role.description})" for name, role in card.roles.items())
        lines += [f"**Samples also carry** (`Dataset.role`): {carried}.", ""]
    lines += [
        "**Known problems**",
        "",
        *(f"- {limit}" for limit in card.limits),
        "",
        f"Cite: {card.citation.strip()}",
        "",
    ]
    if card.name in GRIDS:
        model, asked = GRIDS[card.name]
        words = ", ".join(f"{name} = {value}" for name, value in asked.items())
        lines += [
            f"`{model}`, do({words}):",
            "",
            f"![Answers of {model} beside the truth](images/grid-{card.name}.png)",
            "",
        ]
    if card.name in SHEETS:
        lines += [f"![Samples of {card.name} and true counterfactuals](images/samples-{card.name}.png)", ""]
    return lines + _scores(card)


def _scores(card: Any) -> list[str]:
    """What is published here of models on a dataset's embedded source."""
    if card.name == "morphomnist":
        return ["What models score: [results](results.md), [beside the published table](comparison.md)."]
    lines: list[str] = []
    for suite in ("standard", "mechanisms"):
        folder = RECORDS.parents[1] / f"{card.name}-{card.default_source}" / suite
        records = {path.stem: stored_at(path) for path in sorted(folder.glob("*.json"))}
        shown = [model for model in (*MODELS, "flow", "affine") if model in records]
        if shown:
            lines += [
                f"### Models on `{card.default_source}`, suite `{suite}`",
                "",
                *_beside(records, shown, card.default_source),
                "",
            ]
    return lines


def readme() -> str:
    """The README with the table of a shipped model."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n```\n{table_text(stored(SHOWN), False)}\n```\n{END}{after}"


BEGIN, END = "<!-- table: made by docs/make.py -->", "<!-- end of table -->"


def lessons(record: Any) -> list[str]:
    """What the table shows, in words, with its own numbers."""
    from counterbench.records.table import show

    found = {number.key: number for number in record.numbers}

    def row(name: str, *key: Any) -> str:
        number = found[key]
        return show(number.value if name == SHOWN else number.references[name].value)

    cld = ("minimality", "cld_1_1", "digit", "", 0, "posterior")
    frechet = ("realism", "frechet_distance", "digit", "", 0, "judge")
    skill = ("effectiveness", "skill", "digit", "digit", 0, "")
    l1 = ("truth", "l1", "thickness", "", 0, "l1")
    stranger = ("identity_preservation", "distance_ratio", "digit", "", 0, "judge")
    return [
        "## What this teaches",
        "",
        "- **Doing nothing** wins composition, reversibility, commutativity, off-target change and identity preservation outright.",
        f"- **A real image of the target class** wins effectiveness (do(digit) skill {row('retrieve', *skill)} for `retrieve` against "
        f"{row(SHOWN, *skill)} for the model), realism (Frechet distance {row('resample', *frechet)} for `resample` against "
        f"{row(SHOWN, *frechet)}) and CLD with the weights (1, 1) ({row('retrieve', *cld)} for `retrieve` against {row(SHOWN, *cld)}; doing nothing scores "
        f"{row('identity', *cld)}). It is a stranger: {row('retrieve', *stranger)} of the distance between random pairs.",
        f"- **Only the truth** puts them all where they belong: distance to the true image under do(thickness) is {row(SHOWN, *l1)} for "
        f"the model, {row('identity', *l1)} for doing nothing, {row('retrieve', *l1)} and {row('resample', *l1)} for real images of "
        "somebody else.",
        "- **The weights of CLD matter more than the model**: with (1, 1) the ranking of the rows is another than with (0.8, 0.2).",
        "- **Realism in the judge's features** does not see that the change was not made: the features were trained to ignore "
        "thickness, so the unchanged image is as real as the answer. Read it beside effectiveness, and in more than one space.",
        "",
        "## Where this differs from the literature",
        "",
        "- CLD: reference images come from the training split and share the value of the intervened variable alone; the divergence "
        "reads both mean and scale of the posterior; classes are compared as classes and quantities by tenths of their range.",
        "- Frechet distance and KID compare with real images *matched* to the plan's attributes; against the whole training split a "
        "perfect model would score above 0, because interventions change the law of the attributes (`reference: train` gives that "
        "number, as published).",
        "- Intervals of set statistics come from their pseudo-values (infinitesimal jackknife) in the same clustered bootstrap as all "
        "others. A bootstrap of the Frechet distance itself is biased upwards, because resamples repeat images; the standard "
        "deviation over random subsets that is usual for KID tells about subsets of 1,000 (`kid_subsets` computes it). Where two laws "
        "are equal, both statistics are degenerate and the interval is too narrow; the finite-sample bias of the Frechet distance is "
        "not in it. Compare equal N.",
        "- F1, AUROC and balanced accuracy are computed over the whole set, never averaged over batches.",
        "- A change is off target if neither the variable nor any of its ancestors was set; changes of descendants are due.",
        "",
    ]


# --- figures: every metric on the toy process ----------------------------------------------------------------------------


def towards(share: float) -> Callable[..., dict[str, Any]]:
    """Answers that make a share of the true change."""
    return lambda given, held, truth: {**truth, "image": (1 - share) * given["image"] + share * truth["image"]}


def with_noise(size: float) -> Callable[..., dict[str, Any]]:
    """The truth with that much noise, fixed per sample."""
    import torch

    pattern = torch.arange(64.0).view(1, 1, 8, 8)
    return lambda given, held, truth: {
        **truth,
        "image": truth["image"] + size * torch.cos(7.3 * given["image"] + pattern),
    }


SHARES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
SIZES = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0)
PANELS = {
    "reversibility": [("noise", "l1", "a", "", {})],
    "commutativity": [("noise", "l1", "a + c", "", {})],
    "effectiveness": [("share", "skill", "a", "a", {}), ("noise", "absolute_error", "a", "a", {})],
    "truth": [("share", "effect", "a", "", {}), ("noise", "amplification", "a", "", {})],
    "minimality": [("share", "cld_0.8_0.2", "a", "", {}), ("share", "excess_change", "a", "", {})],
    "realism": [
        ("share", "frechet_distance", "a", "", {"spaces": ["pixel"]}),
        ("noise", "frechet_distance", "a", "", {"spaces": ["pixel"]}),
    ],
    "identity_preservation": [
        ("share", "distance_ratio", "a", "", {"spaces": ["pixel"]}),
        ("noise", "distance_ratio", "a", "", {"spaces": ["pixel"]}),
    ],
}
LABELS = {"share": "share of the true change that is made", "noise": "noise added to the true answer, grey levels"}


def curves(name: str) -> list[tuple[str, str, list[float], list[float]]]:
    """(label of x, label of y, x, y) of every panel of a metric's figure."""
    import asked
    import numpy as np
    import torch

    dataset, setting = toy_setting()
    if name == "composition":
        return [_forgetting(keep) for keep in (0.9,)] + [
            _sweep("noise", "composition", ("l1", "", "", 1), dataset, setting, {})
        ]
    if name == "off_target":
        found = []
        for share in SHARES:

            def drags(given: Any, held: Any, truth: Any, share: float = share) -> dict[str, Any]:
                from toy import patterns

                shift = 12 * share * patterns()[0].view(1, 1, 8, 8).float()
                return {**truth, "image": truth["image"] + (shift if "b" in held else 0)}

            found.append(asked.points(name, setting, dataset, drags)["change", "b", "a", 0])
        return [("a moves along with do(b), in units of a", "change of a, standard deviations", list(SHARES), found)]
    if name == "percentage_error":
        found = []
        for share in SHARES:

            def follows(given: Any, held: Any, truth: Any, share: float = share) -> dict[str, Any]:
                return {**truth, "b": (1 - share) * given["b"] + share * truth["b"]}

            found.append(asked.points(name, setting, dataset, follows)[name, "a", "", 0])
        return [(LABELS["share"], "percentage error, %", list(SHARES), found)]
    if name == "abduction":
        from counterbench.causal.variables import Continuous
        from counterbench.metrics.abduction import readable, two_sample_test

        rng = np.random.default_rng(0)
        widths, prior = [0.25, 0.5, 0.75, 1.0, 1.33, 2.0, 4.0], rng.normal(size=(600, 4))
        tests = [float(two_sample_test(width * rng.normal(size=(600, 4)), prior).mean()) for width in widths]
        held, parent = [0.0, 0.25, 0.5, 0.75, 1.0], rng.normal(size=600)
        leaks = []
        for share in held:
            noise = share * parent + np.sqrt(1 - share**2) * rng.normal(size=600)
            error, blind = readable(noise[:, None], parent, Continuous("p", -4, 4))
            leaks.append(float(1 - error.sum() / blind.sum()))
        return [
            ("standard deviation of the abducted noise", "prior test: accuracy", widths, tests),
            ("correlation of the noise with a parent", "leak", held, leaks),
        ]
    if name == "cost":
        from counterbench.models.cost import counted_passes

        passes = []
        for count in range(1, 9):
            layer = torch.nn.Linear(4, 4)
            with counted_passes(layer) as counted:
                for _ in range(count):
                    layer(torch.zeros(1, 4))
            passes.append(float(counted.mean or 0))
        return [("passes through a network for one answer", "evaluations", [float(k) for k in range(1, 9)], passes)]
    return [
        _sweep(x, name, (quantity, k, j, 0), dataset, setting, options) for x, quantity, k, j, options in PANELS[name]
    ]


def _sweep(
    x: str, name: str, key: tuple[str, str, str, int], dataset: Any, setting: Any, options: dict[str, Any]
) -> tuple[str, str, list[float], list[float]]:
    import asked

    values, answer = (SHARES, towards) if x == "share" else (SIZES, with_noise)
    found = [asked.points(name, setting, dataset, answer(value), 120, **options)[key] for value in values]
    return LABELS[x], key[0].replace("_", " "), list(values), found


def _forgetting(keep: float) -> tuple[str, str, list[float], list[float]]:
    """The composition curve of a model that keeps a share of the noise at every pass: (1 - keep^m) E|noise|."""
    import toy

    from counterbench import evaluation
    from counterbench.models.model import Contestant

    class Forgetful:
        def counterfactual(self, factual: Any, interventions: Any, generator: Any = None) -> Any:
            return toy.exact_scm(keep).counterfactual(factual, interventions, generator)

    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["composition"])
    numbers = evaluation.evaluate(Contestant("forgetful", Forgetful()), exam).record.numbers
    return (
        f"null interventions, a share of {keep:g} of the noise kept each time",
        "l1, grey levels",
        [float(number.cycles) for number in numbers],
        [number.value for number in numbers],
    )


def draw(name: str) -> None:
    """The figure of one metric."""
    from matplotlib.figure import Figure

    panels = curves(name)
    figure = Figure(figsize=(3.6 * len(panels), 2.7))
    for axis, (x_label, y_label, x, y) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        axis.plot(x, y, "o-", color="#1f77b4", markersize=4, linewidth=1.4)
        if x_label == LABELS["share"]:
            axis.axvline(1, color="#999", linewidth=0.8, linestyle=":")
        axis.set_xlabel(x_label, fontsize=8)
        axis.set_ylabel(y_label, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(color="#eee")
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(IMAGES / f"{name}.png", dpi=110)


def sheets() -> None:
    """Samples and true counterfactuals of the embedded sources."""
    from counterbench import datasets
    from counterbench.pictures import gallery

    for card, source in SHEETS.items():
        gallery.draw_dataset(datasets.load(card, source), 64, 0, ROOT / "docs" / "images" / f"samples-{card}.png")


def grids() -> None:
    """Answers of a shipped model beside the truth, for datasets that have one."""
    from counterbench import datasets, models
    from counterbench.pictures import gallery

    for card, (model, asked) in GRIDS.items():
        dataset = datasets.load(card)
        gallery.generate(
            models.load(model, dataset), dataset, asked, 6, 0, ROOT / "docs" / "images" / f"grid-{card}.png"
        )


def pages() -> dict[Path, str]:
    """Every generated page: file -> text."""
    _, setting = toy_setting()
    made = {PAGES / f"{name}.md": page(name, declared(name)(setting).cells) for name in ORDER}
    made[PAGES / "README.md"] = index()
    made[ROOT / "docs" / "datasets.md"] = dataset_pages()
    if stored(SHOWN) is not None:
        made[ROOT / "docs" / "fooled.md"] = fooled()
        made[ROOT / "docs" / "results.md"] = results()
        made[ROOT / "docs" / "comparison.md"] = comparison()
        made[ROOT / "README.md"] = readme()
    return made


def boards() -> dict[Path, str]:
    """The leaderboards of all published records."""
    from counterbench.leaderboard import board, formats

    built = board.build(board.find(ROOT / "benchmarks" / "records"))
    return {ROOT / "docs" / "leaderboard" / name: text for name, text in formats.pages(built).items()}


def main() -> None:
    """Write everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", action="store_true")
    if parser.parse_args().figures:
        for name in ORDER:
            draw(name)
        sheets()
        grids()
    for path, text in {**pages(), **boards()}.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
