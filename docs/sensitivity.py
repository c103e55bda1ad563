"""What each metric can tell: every metric on the toy process of tests/toy.py, whose answers are spoilt on purpose, more and more.

python docs/sensitivity.py  # writes docs/sensitivity.json, from which docs/figures.py draws the figures of the metrics' pages
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from counterbench import evaluation
from counterbench.causal.variables import Continuous
from counterbench.metrics.abduction import readable, two_sample_test
from counterbench.metrics.answers import Drawing
from counterbench.metrics.statistics.dose_bins import BINS, quantity_of
from counterbench.metrics.statistics.latents import matched_correlation, rank_dependence
from counterbench.models.cost import counted_passes
from counterbench.models.model import Contestant
from counterbench.plugins import registry

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the toy process, a plug-in
STORED = ROOT / "docs" / "sensitivity.json"
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
SIZES = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0)
LABELS = {"share": "share of the true change that is made", "noise": "noise added to the true answer, grey levels"}
PIXEL = {"spaces": ["pixel"]}
PANELS: dict[str, list[tuple[str, tuple[str, str, str, int], dict[str, Any]]]] = {
    "reversibility": [("noise", ("l1", "a", "", 0), {})],
    "commutativity": [("noise", ("l1", "a + c", "", 0), {})],
    "effectiveness": [("share", ("skill", "a", "a", 0), {}), ("noise", ("absolute_error", "a", "a", 0), {})],
    "truth": [("share", ("truth_skill", "a", "", 0), {}), ("noise", ("amplification", "a", "", 0), {})],
    "ms_ssim": [
        ("share", ("truth_similarity", "a", "", 0), {}),
        ("noise", ("truth_similarity", "a", "", 0), {}),
    ],
    "minimality": [("share", ("cld_0.8_0.2", "a", "", 0), {}), ("share", ("excess_change", "a", "", 0), {})],
    "realism": [
        ("share", ("frechet_distance", "a", "", 0), PIXEL),
        ("noise", ("frechet_distance", "a", "", 0), PIXEL),
    ],
    "recognition": [("noise", ("rate", "a", "", 0), {}), ("noise", ("distance_beyond_truth", "a", "", 0), {})],
    "estimate": [("share", ("estimated_skill", "a", "", 0), {}), ("noise", ("estimated_skill", "a", "", 0), {})],
    "rung2": [
        ("share", ("frechet_distance", "a", "", 0), PIXEL),
        ("noise", ("frechet_distance", "a", "", 0), PIXEL),
    ],
}
"""metric -> what is varied, the number (quantity, intervened, measured, cycles), the metric's options, of every panel."""

Answer = Callable[..., dict[str, Any]]
"""(factual values, what is held, true values) -> the values of an answer."""


class Panel(NamedTuple):
    """One curve of a metric's figure."""

    x_label: str
    y_label: str
    x: Sequence[float]
    y: Sequence[float]
    truth: float | None = None
    """Where on the x axis the true answer is, if it is to be marked."""


def towards(share: float) -> Answer:
    """Answers that make a share of the true change."""
    return lambda given, held, truth: {**truth, "image": (1 - share) * given["image"] + share * truth["image"]}


def with_noise(size: float) -> Answer:
    """The truth with that much noise, fixed per sample."""
    pattern = torch.arange(64.0).view(1, 1, 8, 8)
    return lambda given, held, truth: {
        **truth,
        "image": truth["image"] + size * torch.cos(7.3 * given["image"] + pattern),
    }


def dragging(share: float) -> Answer:
    """The truth, but that the image of do(b) moves a along by a share of 12 units."""
    from toy import patterns

    shift = 12 * share * patterns()[0].view(1, 1, 8, 8).float()
    return lambda given, held, truth: {**truth, "image": truth["image"] + (shift if "b" in held else 0)}


def following(share: float) -> Answer:
    """The truth, but that b follows by a share of its change."""
    return lambda given, held, truth: {**truth, "b": (1 - share) * given["b"] + share * truth["b"]}


def score(name: str, answer: Answer, *rows: Sequence[int], **options: Any) -> dict[tuple[str, str, str, int], float]:
    """The numbers that a metric gives to answers about the toy process."""
    import asked
    import toy

    dataset = toy.Toy()
    return asked.points(name, asked.setting(dataset), dataset, answer, *rows, **options)


def sweep(name: str, varied: str, key: tuple[str, str, str, int], options: dict[str, Any]) -> Panel:
    """A number of a metric, for answers that are spoilt more and more."""
    values, answer = (SHARES, towards) if varied == "share" else (SIZES, with_noise)
    numbers = [score(name, answer(value), range(120), **options)[key] for value in values]
    return Panel(LABELS[varied], key[0].replace("_", " "), values, numbers, 1.0 if varied == "share" else None)


def composition() -> list[Panel]:
    """The curve of a model that keeps a share of the noise at every pass, (1 - keep^m) E|noise|; and noise on every answer."""
    import toy

    keep = 0.9

    class Forgetful:
        def counterfactual(self, factual: Any, interventions: Any, generator: Any = None) -> Any:
            return toy.exact_scm(keep).counterfactual(factual, interventions, generator)

    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["composition"])
    numbers = evaluation.evaluate(Contestant("forgetful", Forgetful()), exam).record.numbers
    label = f"null interventions, a share of {keep:g} of the noise kept each time"
    cycles, values = [float(number.cycles) for number in numbers], [number.value for number in numbers]
    return [Panel(label, "l1, grey levels", cycles, values), sweep("composition", "noise", ("l1", "", "", 1), {})]


def off_target() -> list[Panel]:
    """The image of do(b) drags a along."""
    changes = [score("off_target", dragging(share))["change", "b", "a", 0] for share in SHARES]
    label = "a moves along with do(b), in units of a"
    return [Panel(label, "change of a, standard deviations", SHARES, changes)]


def timid(given: Any, held: Any, truth: Any) -> dict[str, Any]:
    """Half of the change where more than 1.5 units are asked of a, all of it elsewhere."""
    if "a" not in held:
        return dict(truth)
    large = ((held["a"] - given["a"]).abs() > 1.5).view(-1, 1, 1, 1)
    return {**truth, "image": torch.where(large, (given["image"] + truth["image"]) / 2, truth["image"])}


def dose_response() -> list[Panel]:
    """A model that shrinks from large changes of a."""
    numbers = score("dose_response", timid, range(120))
    bins = [number + 1 for number in range(BINS) if (quantity_of("size", "in", number), "a", "", 0) in numbers]
    curves = {
        what: [numbers[quantity_of(what, "in", number - 1), "a", "", 0] for number in bins]
        for what in ("size", "effect", "effect_error")
    }
    label = "size of do(a), standard deviations"
    return [Panel(label, what.replace("_", " "), curves["size"], curves[what]) for what in ("effect", "effect_error")]


def percentage_error() -> list[Panel]:
    """The effect of do(a) on b is made by a share."""
    errors = [score("percentage_error", following(share))["percentage_error", "a", "", 0] for share in SHARES]
    return [Panel(LABELS["share"], "percentage error, %", SHARES, errors, 1.0)]


def abduction() -> list[Panel]:
    """Noise that is too narrow or too wide, and noise that holds some of a parent."""
    rng = np.random.default_rng(0)
    widths, prior = (0.25, 0.5, 0.75, 1.0, 1.33, 2.0, 4.0), rng.normal(size=(600, 4))
    tests = [float(two_sample_test(width * rng.normal(size=(600, 4)), prior).mean()) for width in widths]
    correlations, parent, leaks = (0.0, 0.25, 0.5, 0.75, 1.0), rng.normal(size=600), []
    for share in correlations:
        noise = share * parent + np.sqrt(1 - share**2) * rng.normal(size=600)
        error, blind = readable(noise[:, None], parent, Continuous("p", -4, 4))
        leaks.append(float(1 - error.sum() / blind.sum()))
    return [
        Panel("standard deviation of the abducted noise", "prior test: accuracy", widths, tests),
        Panel("correlation of the noise with a parent", "leak", correlations, leaks),
    ]


def draws() -> list[Panel]:
    """Answers that are off by chance, with draws that know so, or are too narrow or too wide."""
    import asked
    import toy

    dataset, off, widths = toy.Toy(), 10.0, (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
    known, found = asked.setting(dataset), []
    for width in widths:
        metric = registry.metrics.get("draws")(known)
        for answers in asked.answers(dataset, asked.true, [torch.arange(100)]):
            if answers.kind == "single" and answers.intervened == ("a",):
                metric.update(replace(answers, drawn=_around(answers.truth, off, width)))
        found.append({column.cell.quantity: column.point() for column in metric.compute() if not column.cell.measured})
    label = "width of the draws, relative to the error of their middle"
    return [
        Panel(label, what.replace("_", " "), widths, [numbers[what] for numbers in found], 1.0)
        for what in ("energy_score", "coverage")
    ]


def memorisation() -> list[Panel]:
    """Answers that make a share of the true change; and training images with noise."""
    import toy

    changed = sweep("memorisation", "share", ("stranger", "a", "", 0), {})
    train = toy.Toy().split("train").values["image"].float()

    def replay(size: float) -> Answer:
        noise = size * torch.randn(train.shape, generator=torch.Generator().manual_seed(0))
        return lambda given, held, truth: {**truth, "image": (train + noise)[: len(given["image"])]}

    copies = [score("memorisation", replay(size), range(120))["copied", "a", "", 0] for size in SIZES]
    return [changed, Panel("noise added to training images, grey levels", "copied", SIZES, copies)]


def reidentification() -> list[Panel]:
    """Training images with noise as samples, and more and more of them among real images of others; links by pixels."""
    import toy

    train = toy.Toy().split("train").values["image"].float()
    shares, generator = (0.0, 0.25, 0.5, 0.75, 1.0), torch.Generator().manual_seed(0)

    def with_training_images(share: float, size: float) -> Callable[[Any], Any]:
        def made(answers: Any) -> Any:
            image = answers.values["image"].clone()
            count = round(share * len(image))
            image[:count] = train[:count] + size * torch.randn(train[:count].shape, generator=generator)
            return replace(answers, values={**answers.values, "image": image.round().clamp(0, 255)})

        return made

    noisy = [_of_samples("reidentification", with_training_images(1.0, size))["linked"] for size in SIZES]
    mixed = [_of_samples("reidentification", with_training_images(share, 0.0)) for share in shares]
    return [
        Panel("noise added to training images, grey levels", "linked", SIZES, noisy),
        Panel("share of samples that are training images", "linked", shares, [one["linked"] for one in mixed]),
        Panel("share of samples that are training images", "auc", shares, [one["auc"] for one in mixed]),
    ]


def _of_samples(name: str, answers_of: Callable[[Any], Any], **options: Any) -> dict[str, float]:
    """The numbers of a metric of new individuals, after something was done to what was drawn."""
    import asked
    import toy

    dataset = toy.Toy()
    metric = registry.metrics.get(name)(asked.setting(dataset), **options)
    for answers in asked.answers(dataset, asked.true, [torch.arange(100)]):
        if answers.kind == "sample":
            metric.update(answers_of(answers))
    return {column.cell.quantity: column.point() for column in metric.compute() if not column.cell.measured}


def generation() -> list[Panel]:
    """Real images of others as samples, with noise, or more and more of them from the training split."""
    import toy

    train = toy.Toy().split("train").values["image"].float()
    shares, generator = (0.0, 0.25, 0.5, 0.75, 1.0), torch.Generator().manual_seed(0)

    def noisy(size: float) -> Callable[[Any], Any]:
        def made(answers: Any) -> Any:
            image = answers.values["image"]
            noise = size * torch.randn(image.shape, generator=generator)
            return replace(answers, values={**answers.values, "image": (image + noise).round().clamp(0, 255)})

        return made

    def remembered(share: float) -> Callable[[Any], Any]:
        def made(answers: Any) -> Any:
            image = answers.values["image"].clone()
            count = round(share * len(image))
            image[:count] = train[:count]
            return replace(answers, values={**answers.values, "image": image})

        return made

    far = [_of_samples("generation", noisy(size), **PIXEL)["frechet_distance"] for size in SIZES]
    copies = [_of_samples("generation", remembered(share), **PIXEL)["copied"] for share in shares]
    return [
        Panel("noise added to real images, grey levels", "frechet distance", SIZES, far),
        Panel("share of samples that are training images", "copied", shares, copies),
    ]


def _of_answers(name: str, changed: Callable[[Any], Any], kind: str = "single") -> dict[str, float]:
    """The numbers of a metric under do(a), or of the null intervention, after something was done to the true answers; without what stands beside."""
    import asked
    import toy

    dataset = toy.Toy()
    metric = registry.metrics.get(name)(asked.setting(dataset))
    for answers in asked.answers(dataset, asked.true, [torch.arange(100)]):
        if answers.kind == kind and answers.intervened in ((), ("a",)):
            metric.update(changed(answers))
    plain = (column for column in metric.compute() if not column.cell.measured and not column.cell.space)
    return {column.cell.quantity: column.point() for column in plain}


def localisation() -> list[Panel]:
    """The true change under noise."""

    def noisy(size: float) -> Callable[[Any], Any]:
        def made(answers: Any) -> Any:
            image = answers.values["image"]
            noise = size * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
            return replace(answers, values={**answers.values, "image": image + noise})

        return made

    found = [_of_answers("localisation", noisy(size)) for size in SIZES]
    return [
        Panel(LABELS["noise"], words, SIZES, [one[name] for one in found])
        for name, words in (("auc", "area under the curve"), ("overlap", "overlap"))
    ]


def parts() -> list[Panel]:
    """The truth with a leak: the part that do(a) does not own becomes brighter; and the answers of other rows."""
    import asked

    leaks, moved = (0.0, 2.0, 5.0, 10.0, 15.0, 20.0), (0.0, 0.25, 0.5, 0.75, 1.0)

    def leaking(size: float) -> Callable[[Any], Any]:
        def made(answers: Any) -> Any:
            beside = (asked.parts_of(answers.factual["image"]) == 0)[:, None]
            return replace(answers, values={**answers.values, "image": answers.values["image"] + size * beside})

        return made

    def shuffled(share: float) -> Callable[[Any], Any]:
        def made(answers: Any) -> Any:
            image = answers.values["image"].clone()
            count = round(share * len(image))
            image[:count] = image[:count].roll(1, 0).flip(2) if count else image[:count]
            return replace(answers, values={**answers.values, "image": image})

        return made

    leaked = [_of_answers("parts", leaking(size))["outside_change"] for size in leaks]
    strange = [_of_answers("parts", shuffled(share))["equivariance"] for share in moved]
    return [
        Panel("the part beside becomes brighter, grey levels", "change outside", leaks, leaked),
        Panel("share of answers that show somebody else, upside down", "equivariance", moved, strange),
    ]


def grounding() -> list[Panel]:
    """Maps of where the box is, under noise."""
    from asked import boxes_of

    from counterbench.metrics.answers import PhraseMaps
    from counterbench.metrics.localisation import in_boxes

    sizes = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)

    def looking(size: float) -> Callable[[Any], Any]:
        def made(answers: Any) -> Any:
            place = in_boxes(boxes_of(answers.index), (8, 8)).double()
            noise = size * torch.randn(place.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            answers.batch.grounding = PhraseMaps(lambda phrases, rule: place + noise, lambda phrases, rule: noise)
            return answers

        return made

    found = [_of_answers("grounding", looking(size), "null")["auc"] for size in sizes]
    return [Panel("noise in the map, relative to the box", "area under the curve", sizes, found)]


def latents() -> list[Panel]:
    """Latents that are attributes with noise, and two latents that hang on each other more and more."""
    draw = torch.Generator().manual_seed(0)
    attributes, noise = (torch.randn(600, 2, generator=draw, dtype=torch.float64) for _ in range(2))
    sizes, shares = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0), (0.0, 0.25, 0.5, 0.75, 1.0)
    held = [float(matched_correlation(attributes.flip(1) + size * noise, attributes).mean()) for size in sizes]

    def pair(share: float) -> torch.Tensor:
        return torch.stack([noise[:, 0], share * noise[:, 0] + (1 - share**2) ** 0.5 * attributes[:, 0]], 1)

    hang = [float(rank_dependence(pair(share)).mean()) for share in shares]
    return [
        Panel("noise in latents that are attributes, standard deviations", "mcc", sizes, held),
        Panel("correlation of two latents", "dependence", shares, hang),
    ]


def extraction() -> list[Panel]:
    """Of 50 draws, some are the training image, and the others some training image or other."""
    import toy

    train, counts, found = toy.Toy().split("train").values["image"].float(), (0, 1, 2, 3, 4, 6, 8), []
    for count in counts:

        def draw(attributes: Any, streams: Sequence[str], count: int = count) -> torch.Tensor:
            rows = [(int(row), int(at)) for _, row, at in (stream.split("/") for stream in streams)]
            return torch.stack([train[row if at < count else (7 * row + 31 * at) % len(train)] for row, at in rows])

        def made(answers: Any, draw: Any = draw) -> Any:
            answers.batch.drawing = Drawing(draw)
            return answers

        found.append(_of_samples("extraction", made)["extracted"])
    return [Panel("draws that show the training image, of 50", "extracted", [float(k) for k in counts], found)]


def identifiability() -> list[Panel]:
    """Three trainings, each the truth under an error of its own."""
    import asked
    import toy

    dataset, sizes = toy.Toy(), (0.0, 2.0, 5.0, 10.0, 15.0, 20.0)
    known, found = asked.setting(dataset), []
    for size in sizes:
        metric, generator = registry.metrics.get("identifiability")(known), torch.Generator().manual_seed(0)
        for answers in asked.answers(dataset, asked.true, [torch.arange(100)]):
            if answers.kind == "single" and answers.intervened == ("a",):
                true = answers.truth["image"]
                errors = [size * torch.randn(true.shape, generator=generator) for _ in range(3)]
                first, *others = ({**answers.truth, "image": true + error} for error in errors)
                metric.update(replace(answers, values=first, others=others))
        found.append(metric.compute()[0].point())
    return [Panel("error of each training, grey levels", "disagreement", sizes, found)]


def _around(truth: Any, off: float, width: float) -> Callable[[int], dict[str, Any]]:
    """Draws around a middle that is off by chance."""
    generator = torch.Generator().manual_seed(0)
    middle, *others = (off * torch.randn(truth["image"].shape, generator=generator) for _ in range(21))
    return lambda number: {**truth, "image": truth["image"] + middle + width * others[number]}


def cost() -> list[Panel]:
    """A network that is used several times for one answer."""
    counts, passes = range(1, 9), []
    for count in counts:
        layer = torch.nn.Linear(4, 4)
        with counted_passes([layer]) as counted:
            for _ in range(count):
                layer(torch.zeros(1, 4))
        passes.append(float(counted.mean or 0))
    return [Panel("passes through a network for one answer", "evaluations", [float(k) for k in counts], passes)]


OTHERS = {
    one.__name__: one
    for one in (
        *(composition, off_target, dose_response, percentage_error),
        *(localisation, parts, grounding),
        *(latents, abduction, draws, memorisation, reidentification, generation, extraction, identifiability, cost),
    )
}


def panels(name: str) -> list[Panel]:
    """Every panel of a metric's figure."""
    return OTHERS[name]() if name in OTHERS else [sweep(name, *panel) for panel in PANELS[name]]


def main() -> None:
    """Run everything and store it."""
    results = {name: [panel._asdict() for panel in panels(name)] for name in sorted(registry.metrics.builtins())}
    STORED.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
