"""Makes the generated pages of the documentation.

    python docs/make.py  # from the metrics' own declarations, the cards and benchmarks/records

Pages say what the code says: a test makes them again and compares. Their words are in docs/templates. No experiment is run and nothing
is drawn here: see docs/sensitivity.py, docs/coverage.py and docs/figures.py.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from counterbench import datasets
from counterbench.catalog.agreement import measured_agreement
from counterbench.leaderboard import board, formats
from counterbench.leaderboard.pages import BETTER
from counterbench.plugins import registry
from counterbench.records import summary
from counterbench.records.record import FLOORS, read_record
from counterbench.records.table import beaten_by, heading, interval, label, show

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path[:0] = [str(ROOT / "tests"), str(DOCS)]  # the toy process, a plug-in; the experiments
PAGES, IMAGES = DOCS / "metrics", DOCS / "metrics" / "images"
ALL_RECORDS = ROOT / "benchmarks" / "records"
RECORDS = ALL_RECORDS / "morphomnist-digits" / "standard"
SHOWN = "hvae"
"""The shipped model that tables outside the comparison show."""
ROWS = ("identity", "noise", "retrieve", "resample", "truth", "real")
READ = {
    "composition": "The left figure: models that keep a share of the noise at every pass; a share of one is a perfect copy. Right: "
    "the same after noise was added to every answer.",
    "reversibility": "A model that loses part of the individual on the way does not find back; noise counts as well.",
    "commutativity": "A model whose answers depend on the order scores above 0, however good each single answer is.",
    "effectiveness": "Left: the share of the true change that is made; the skill passes 0 where nothing is done and 1 at the truth. "
    "Right: noise costs little here, because the toy's judge averages over many pixels: a blurred or noisy image can be effective.",
    "off_target": "Left: the image of do(b) drags a along by a share of the change; the score is that share, in standard deviations.",
    "truth": "Left: truth skill is 0 for doing nothing and 1 for the truth; half of the change halves the distance, and too much costs as much as too "
    "little. Right: amplification is the size of everything beside the true change, relative to it.",
    "ms_ssim": "Left: similarity is 1 at the truth (dotted), and 0.91 where nothing is changed: what doing nothing scores is far from 0, so look at the row "
    "`identity` first. Right: noise hides structure, and 20 grey levels of it cost more than leaving out the whole change.",
    "dose_response": "Answers that make half of every change beyond 1.5 units and all of the others: the effect is 1 where the interventions "
    "are small, and falls with their size; the error rises.",
    "rung2": "Left: the law of images at each value set is nearest where all of the change is made (dotted), and as far on both sides. "
    "Right: noise moves the law of images. Neither curve reaches 0, since answers and truth are of different individuals.",
    "percentage_error": "The effect of do(a) on b is made by a share; the error is 0 where all of it is. It is large because some true values "
    "of b lie close to 0: see above.",
    "minimality": "Left: CLD starts at 0.2954 whatever the data, and its best value is not where the truth is (dotted): this is why it "
    "is never read alone, and not ranked where it says no more than that. Right: excess change is 0 at the truth and grows to both sides.",
    "realism": "Left: in this space the toy's images of other attributes are real as well, so the distance hardly sees whether the "
    "change was made. Right: noise is seen at once.",
    "localisation": "The true change of do(a) and noise: where noise is as strong as the change, the map no longer shows where the change is. The area is 1 and the overlap less than 1 "
    "without noise, for the true change is not equally large in every pixel of its region.",
    "parts": "Left: the truth, and a part that do(a) does not own is made brighter: the outside change follows, from what the truth itself changes there. Right: more and "
    "more answers show somebody else; their parts lie elsewhere.",
    "grounding": "A map that is 1 in the box, with noise: the area falls from 1 to .5. The toy process has no model that reads phrases.",
    "memorisation": "Left: the more is changed, the more answers are nearer to a training image than to their own; at the truth (dotted) too, so its own share is the "
    "reference. Right: training images themselves, with noise: as copies count those that are nearer than 1 % of held-out images are.",
    "reidentification": "Links by pixels, the toy process has no verifiers. Left: training images with noise; noise of 10 grey levels is stronger than what makes individuals of the toy process, and nobody is linked. Middle and right: more and "
    "more samples are training images; where none is, the share is about .05 and the AUC .5.",
    "generation": "Left: real images of others as samples, with noise: the Frechet distance to held-out images grows, and is not 0 without noise, since two sets of "
    "100 real images differ. Right: more and more samples are training images.",
    "extraction": "Of 50 draws for each training image some are that image, the others show anybody: three that are alike give it away, one or two may be chance.",
    "recognition": "Left: noise as strong as what makes an individual hides who it is. Right: how much farther the answer is from the "
    "observed image than the truth is.",
    "estimate": "Left: the estimate is 0 for doing nothing and 1 for the truth (dotted), as truth skill is. Right: noise is lost by going "
    "there and back.",
    "abduction": "Left: noise that is too narrow or too wide is told from the prior; 1 is right. Right: how much of a parent the "
    "noise holds, against how much can be read off it.",
    "latents": "Left: latents that are the attributes in another order, with noise: the coefficient falls from 1. Right: two latents that hang on each other more and more.",
    "draws": "The middle of the draws is off by chance. Left: the energy score is lowest where draws are as wide as that error (dotted). Right: there the "
    "truth lies among them as often as it should, 1; narrow draws miss it.",
    "identifiability": "Three trainings, each the truth of do(a) under an error of its own: the farther they are apart, relative to the change, the less the data "
    "have decided; it grows towards the square root of 2, where errors are all there is.",
    "cost": "A network that is used k times for one answer has k evaluations, whatever the machine.",
}
"""What the figure of each metric shows, in the order of the documentation."""

MODELS = ("vae", "hvae", "gan")
FAMILIES = (*MODELS, "flow-matching", "diffusion")
"""The shipped models of image datasets."""
PUBLISHED = ROOT / "benchmarks" / "published" / "melistas2024-morphomnist.yaml"
COMPARED = (("mnist", "paper"), ("mnist", "standard"), ("digits", "paper"), ("digits", "standard"))
"""Sources and suites of MorphoMNIST that stand beside the published table."""
CARDS = (
    "morphomnist",
    "celeba-simple",
    "celeba-complex",
    "adni",
    "adni-192",
    "adni-3d",
    "adni-3d-96",
    "ellipse",
    "ellipse-point",
)
SHEETS = {"celeba-simple": "portraits", "celeba-complex": "portraits", "adni": "template"}
"""Datasets whose samples are drawn for the documentation: card -> source."""
GRIDS = {
    "adni": ("flow-matching", {"ventricular_volume": "90"}),
    "celeba-complex": ("hvae", {"male": "1", "young": "0"}),
}
"""card -> the model and the intervention of a grid of answers."""
AGREEMENT, EXACT_AGREEMENT = 0.8, 0.6
"""Kendall's tau that the estimate should reach over all rows, and among those that lose nothing."""
BEGIN, END = "<!-- table: made by docs/make.py -->", "<!-- end of table -->"
SKILLS, SKILLS_END = "<!-- row skills: made by docs/make.py -->", "<!-- end of row skills -->"
TEMPLATES = Environment(
    loader=FileSystemLoader(DOCS / "templates"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, **context: Any) -> str:
    """A page."""
    return TEMPLATES.get_template(f"{template}.md.j2").render(context)


def stored(path: Path) -> dict[str, Any]:
    """The published records in a folder, by model."""
    return {file.stem: read_record(file) for file in sorted(path.glob("*.json"))}


def ends(number: Any) -> list[str]:
    """What the baselines have where a model has this number."""
    values = [number.references.get(row) for row in ROWS]
    return ["-" if value is None else show(value.value) for value in values]


def metric_page(name: str, cells: list[Any], record: Any) -> str:
    """One metric, with the baselines' numbers on the default source."""
    quantities: dict[str, Any] = {}
    for cell in cells:
        quantities.setdefault("cld" if cell.quantity.startswith("cld_") else cell.quantity, cell)
    measured = None
    if name not in ("cost", "abduction"):
        numbers = [number for number in record.numbers if number.metric == name and not number.detail]
        prefixes = [f"do({number.intervened}) " if number.intervened else "" for number in numbers]
        measured = [
            [f"{prefix}{label(number)}", show(number.value), *ends(number)]
            for prefix, number in zip(prefixes, numbers, strict=True)
        ] or None
    return render(
        "metric",
        name=name,
        metric=registry.metrics.get(name),
        quantities=quantities,
        best=BETTER,
        columns=[SHOWN, *ROWS],
        measured=measured,
        read=READ[name],
    )


def fooled(record: Any) -> str:
    """What wins what, from the published record."""
    by_key = {number.key: number for number in record.numbers}

    def value(row: str, key: Any) -> str:
        number = by_key[key]
        return show(number.value if row == SHOWN else number.references[row].value)

    cells = []
    for number in record.numbers:
        if not number.detail and number.metric not in ("cost", "abduction"):
            stars = ["\\*" if row in FLOORS and beaten_by(number, row) else "" for row in ROWS]
            marked = [end + star for end, star in zip(ends(number), stars, strict=True)]
            cells.append([heading(number), show(number.value), *marked])
    tricks = json.loads((DOCS / "attacks.json").read_text(encoding="utf-8"))
    return render(
        "fooled",
        model=SHOWN,
        record=record,
        columns=[SHOWN, *ROWS],
        cells=cells,
        value=value,
        tricks=map(trick, tricks),
    )


def trick(row: dict[str, Any]) -> dict[str, str]:
    """A row of the table of tricks."""
    value, low, high = row["row_skill"]
    reasons: dict[str, list[str]] = {}
    for name, why in row["not_ranked"].items():
        reasons.setdefault(why, []).append(name.replace("_", " "))
    told = [flag for flag in row["flags"] if flag not in reasons]
    told += [f"no rank in {', '.join(names)}: {why}" for why, names in reasons.items()]
    return {
        "name": row["name"],
        "does": row["does"],
        "skill": f"{show(value)} [{show(low)}, {show(high)}]",
        "change": ", ".join(show(one) for one in row["change_skills"]),
        "composition": ", ".join(show(one) for one in row["composition"]),
        "effectiveness": show(row["effectiveness"]),
        "beaten": "{} of {}".format(*row["beaten"]),
        "told": "; ".join(told) or "-",
    }


def comparison() -> str:
    """Our models beside the published table, from the records that are there."""
    folders = {part: ALL_RECORDS / f"morphomnist-{part[0]}" / part[1] for part in COMPARED}
    parts = {part: beside(stored(folder), part[0]) for part, folder in folders.items()}
    introduction = (DOCS / "comparison.in.md").read_text(encoding="utf-8").rstrip()
    return render("comparison", introduction=introduction, parts={part: it for part, it in parts.items() if it})


def beside(records: dict[str, Any], source: str) -> dict[str, Any] | None:
    """Published numbers, ours and the baselines', row by row; None where there is no record of ours."""
    shown = [model for model in (*FAMILIES, "spline", "affine") if model in records]
    if not shown:
        return None
    first = records[shown[0]]
    rows = [name for name in ROWS if any(name in number.references for number in first.numbers)]
    published = [f"published {model}" for model in MODELS] if source == "mnist" else []
    theirs = published_numbers() if published else {}
    cells = []
    for what, keys, number in averaged(first):
        ours = [[records[model].by_key[key] for key in keys if key in records[model].by_key] for model in shown]
        if not all(ours):
            continue
        known = theirs.get(number.key if len(keys) == 1 else anywhere(number.key), {})
        line = [what, *("-" if model not in known else show(known[model][0]) for model in MODELS if published)]
        line += [with_interval(numbers) for numbers in ours]
        baselines = [[number.references.get(row) for number in ours[0]] for row in rows]
        line += ["-" if None in end else show(sum(one.value for one in end) / len(end)) for end in baselines]
        cells.append(line)
    columns = [*published, *(f"**{model}**" for model in shown), *rows]
    return {"record": first, "rows": rows, "columns": columns, "cells": cells}


def averaged(record: Any) -> list[tuple[str, list[Any], Any]]:
    """(label, keys that are averaged, the first number) of every row of the comparison."""
    wanted = ("composition", "effectiveness", "truth", "percentage_error", "realism", "minimality")
    numbers = [number for number in record.numbers if number.metric in wanted and not number.detail]
    rows: list[tuple[str, list[Any], Any]] = []
    for number in numbers:
        if number.quantity == "cld_0.8_0.2":
            same = [other for other in numbers if anywhere(other.key) == anywhere(number.key)]
            if number is same[0]:
                what = f"minimality, mean over interventions: {label(number)}"
                rows.append((what, [one.key for one in same], number))
        else:
            intervened = f" do({number.intervened})" if number.intervened else ""
            rows.append((f"{number.metric}{intervened} {label(number)}", [number.key], number))
    return rows


def anywhere(key: Any) -> Any:
    """The key of a mean over interventions."""
    return (key[0], key[1], "any", *key[3:])


def with_interval(numbers: list[Any]) -> str:
    """Their mean; of one number its interval as well."""
    mean = show(sum(one.value for one in numbers) / len(numbers))
    if len(numbers) > 1 or numbers[0].low is None:
        return mean
    return f"{mean} [{show(numbers[0].low)}, {show(numbers[0].high)}]"


def published_numbers() -> dict[Any, Any]:
    """key -> model -> the published value."""
    listed = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))["numbers"]
    return {tuple(entry["key"]): entry for entry in listed}


def dataset_page() -> str:
    """Every dataset of the catalogue, from its card, with what our models score on it."""

    def named(card: Any, embedded: bool) -> str:
        return ", ".join(name for name, source in card.sources.items() if source.embedded is embedded)

    def errors(entry: Any) -> str:
        figures = {
            source: [f"{what.replace('_', ' ')} {value:g}" for what, value in values.items()]
            for source, values in entry.quality.items()
        }
        return "; ".join(f"{source}: {', '.join(values)}" for source, values in figures.items())

    def scores(card: Any) -> dict[str, Any]:
        folder = ALL_RECORDS / f"{card.name}-{card.default_source}"
        found = {suite: beside(stored(folder / suite), card.default_source) for suite in ("standard", "mechanisms")}
        return {suite: it for suite, it in found.items() if it}

    cards = [datasets.card(name) for name in CARDS]
    return render("datasets", cards=cards, named=named, errors=errors, scores=scores, grids=GRIDS, sheets=SHEETS)


def readme(record: Any) -> str:
    """The README with the table of a shipped model."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = between(text, BEGIN, END, f"```\n{summary.as_text(record)}\n```")
    return between(text, SKILLS, SKILLS_END, skills())


def between(text: str, begin: str, end: str, content: str) -> str:
    """The text with other content between two marks."""
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def attack(member: dict[str, Any]) -> str:
    """What an attack makes of a judge's error, and whether it was made against another one."""
    told = next((item for item in member["sensitivity"].items() if item[0].startswith("attack")), None)
    if told is None:
        return "-"
    return f"{told[1]}{' (transferred)' if 'transferred' in told[0] else ''}"


def skills() -> str:
    """Row skills of the shipped models on the boards that have an order, negative where they are."""
    lines = ["| dataset / source | " + " | ".join(FAMILIES) + " |", "|---|" + "---|" * len(FAMILIES)]
    for folder in sorted(path for path in ALL_RECORDS.glob("*/standard") if path.is_dir()):
        records = stored(folder)
        rows = [records[model].row_skill if model in records else None for model in FAMILIES]
        known = next(iter(records.values())).inputs
        cells = ["-" if row is None else f"{show(row.value)} {interval(row)}" for row in rows]
        lines.append(f"| {known.dataset} / {known.source} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def estimate_page() -> str:
    """How well the estimate orders rows, on every rendered source."""
    known = measured_agreement()
    below = [name for name, one in known.items() if one.tau[0] < AGREEMENT]
    worse = [name for name, one in known.items() if one.exact[0] < EXACT_AGREEMENT]
    told = [
        f"Asked for are tau of {AGREEMENT} over all rows and {EXACT_AGREEMENT} among exact ones.",
        f"Reached by all: {AGREEMENT}." if not below else f"Below {AGREEMENT}: {', '.join(below)}.",
        f"Reached by all exact rows: {EXACT_AGREEMENT}."
        if not worse
        else f"Exact rows below {EXACT_AGREEMENT}: {', '.join(worse)}.",
    ]
    return render(
        "estimate",
        agreements=known,
        compared=max(one.compared for one in known.values()),
        interval=lambda tau: "{:.2f} [{:.2f}, {:.2f}]".format(*tau),
        ordered=lambda rows: sorted(rows.items(), key=lambda row: -row[1][0]),
        verdict=" ".join(told),
    )


def inversion_page() -> str:
    """Error against evaluations of every solver."""
    from inversion import POINTS

    rows = json.loads((DOCS / "inversion.json").read_text("utf-8"))
    known = {(row["solver"], row["steps"], row["exact"]): row for row in rows}

    def cell(row: dict[str, Any] | None) -> str:
        return "-" if row is None else f"{row['error']:.2f} ({row['round_trip']:.2g})"

    return render(
        "inversion",
        transport=json.loads((DOCS / "transport.json").read_text("utf-8")),
        points=f"{POINTS:,}",
        rows=[
            {
                "solver": solver,
                "steps": steps,
                "back": row["evaluations"][0],
                "forth": row["evaluations"][1],
                "exact": cell(row),
                "plain": cell(known.get((solver, steps, False))),
            }
            for (solver, steps, exact), row in known.items()
            if exact
        ],
    )


def guidance_page() -> str:
    """What guidance does to what an intervention reaches, and to who is recognised."""
    from guidance import IMAGES, SHOWN

    rows = json.loads((DOCS / "guidance.json").read_text("utf-8"))
    return render("guidance", rows=rows, images=IMAGES, names=list(SHOWN), show=lambda number: f"{number:.2f}")


def memorisation_page() -> str:
    """What 48 images leave behind in a model, by what was opened."""
    import capacity

    rows = json.loads(capacity.RESULT.read_text("utf-8"))
    claims, reading = capacity.claims(rows), capacity.READING

    def show(number: float | None) -> str:
        return "-" if number is None else f"{number:.3f}"

    return render("memorisation", ways=capacity.ways(rows), claims=claims, reading=reading, show=show)


def tune_page() -> str:
    """How to search, and what a search found."""
    import search_digits

    found = json.loads(search_digits.RESULT.read_text("utf-8"))
    return render("tune", table=found["table"], claims=search_digits.claims(found), reading=search_digits.READING)


def fairness_page() -> str:
    """Subgroups, and what distillation does to the worst of them."""
    import distillation
    import rare_scanner

    scanners = rare_scanner.shown(json.loads(rare_scanner.RESULT.read_text("utf-8")))
    return render("fairness", **distillation.shown(json.loads(distillation.RESULT.read_text("utf-8"))), **scanners)


def release_page() -> str:
    """Who comes out of a generator and of its students."""
    import privacy

    return render("release", **privacy.shown(json.loads(privacy.RESULT.read_text("utf-8"))))


def discover_page() -> dict[Path, str]:
    """What methods of discovery find, and what a wrong graph costs."""
    import discovery
    import latents
    import random_scms
    import wrong_graphs

    told = discovery.shown(json.loads(discovery.RESULT.read_text("utf-8")))
    shown = {"graphs": wrong_graphs.shown(), "scms": random_scms.shown(), "latents": latents.shown()}
    return {DOCS / "discover.md": render("discover", **told, **shown)}


def localisation_pages() -> dict[Path, str]:
    """Where images change, where models look for phrases, and the parts of images."""
    import localisation

    told = localisation.shown(json.loads(localisation.RESULT.read_text("utf-8")))
    return {DOCS / f"{name}.md": render(name, **told) for name in ("localisation", "parts")}


def adaptation_page() -> str:
    """What was measured of adaptations."""
    import scanners

    return render("adaptation", **scanners.shown(json.loads(scanners.RESULT.read_text("utf-8"))))


def answering_page() -> str:
    """What ways of answering do to trained models."""
    from answering import IMAGES

    def causes(ways: dict[str, Any]) -> list[str]:
        first = next(iter(ways.values()))
        return [cause for cause, numbers in first.items() if "truth" in numbers and "+" not in cause]

    def shown(ways: dict[str, Any], cause: str) -> str:
        return " | ".join(cell(way[cause]) for way in ways.values())

    def cell(numbers: dict[str, Any]) -> str:
        judged = numbers.get("effectiveness")
        return f"{numbers['truth'][0]:.2f}" + (f" ({judged[0]:.2f})" if judged else "")

    found = json.loads((DOCS / "answering.json").read_text("utf-8"))
    return render("answering", answering=found, images=IMAGES, causes=causes, shown=shown, effects=effects())


def effects() -> list[list[str]]:
    """Total, direct and indirect effect of the latent-mediator HVAE: a row per intervention and number, with intervals."""
    records = stored(RECORDS)
    sides = [records[f"hvae-mediator{part}"].by_key for part in ("", "-direct", "-indirect")]
    rows = []
    for cause in ("thickness", "intensity", "digit"):
        for metric, quantity, measured in (("truth", "truth_skill", ""), ("effectiveness", "skill", cause)):
            keys = [key for key in sides[0] if key[:4] == (metric, quantity, cause, measured)]
            cells = [f"{show(side[key].value)} {interval(side[key])}" for key in keys for side in sides]
            if cells:
                rows.append([f"do({cause})", quantity.replace("_", " "), *cells])
    return rows


NOTEBOOKS = {"start": "notebook.md", "own-model": "own-model.md"}
"""Notebook -> the page that it is."""


def notebook(page: Path) -> str:
    """A page as a notebook: its Python blocks are cells of code, everything between them is text."""
    cells = []
    for number, part in enumerate(
        re.split(r"^(```python\n.*?^```)$", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    ):
        code = part.startswith("```python")
        text = part.removeprefix("```python").removesuffix("```").strip("\n") if code else part.strip()
        if not text:
            continue
        cell: dict[str, Any] = {"cell_type": "code" if code else "markdown", "id": f"cell-{number}", "metadata": {}}
        cell |= {"execution_count": None, "outputs": []} if code else {}
        cells.append({**cell, "source": text.splitlines(keepends=True)})
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    told = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(told, indent=1, sort_keys=True) + "\n"


def pages() -> dict[Path, str]:
    """Every generated page: file -> text."""
    import asked
    import toy

    record, setting = read_record(RECORDS / f"{SHOWN}.json"), asked.setting(toy.Toy())
    metrics = {name: registry.metrics.get(name) for name in READ}
    return {
        **{PAGES / f"{name}.md": metric_page(name, one(setting).cells, record) for name, one in metrics.items()},
        PAGES / "README.md": render("metrics", metrics=metrics),
        DOCS / "datasets.md": dataset_page(),
        DOCS / "fooled.md": fooled(record),
        DOCS / "estimate.md": estimate_page(),
        DOCS / "judges.md": render(
            "judges", judges=json.loads((DOCS / "judges.json").read_text("utf-8")), attack=attack
        ),
        DOCS / "inversion.md": inversion_page(),
        DOCS / "answering.md": answering_page(),
        DOCS / "guidance.md": guidance_page(),
        DOCS / "memorisation.md": memorisation_page(),
        DOCS / "tune.md": tune_page(),
        DOCS / "adaptation.md": adaptation_page(),
        DOCS / "release.md": release_page(),
        DOCS / "fairness.md": fairness_page(),
        **localisation_pages(),
        **discover_page(),
        DOCS / "intervals.md": render("intervals", it=json.loads((DOCS / "coverage.json").read_text("utf-8"))),
        DOCS / "results.md": render("results", model=SHOWN, record=record, table=summary.as_text(record, True)),
        DOCS / "comparison.md": comparison(),
        **{ROOT / "examples" / f"{name}.ipynb": notebook(DOCS / page) for name, page in NOTEBOOKS.items()},
        ROOT / "README.md": readme(record),
    }


def boards() -> dict[Path, str]:
    """The leaderboards of all published records."""
    built = board.build(board.find(ALL_RECORDS))
    return {DOCS / "leaderboard" / name: text for name, text in formats.pages(built).items()}


def main() -> None:
    """Write everything."""
    for path, text in {**pages(), **boards()}.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
