"""Questions about the toy process, answered by a function: what metrics are tested with."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from toy import COUNTS, Toy, ToyResidual, exact_scm, read

from counterbench import judges
from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.datasets.matching import Matcher
from counterbench.features.base import FeatureSpace
from counterbench.features.pixel import Pixel
from counterbench.metrics.answers import Answers, Batch, Drawing, Instruments, NoiseSample, PhraseMaps, Regions, View
from counterbench.metrics.base import Setting
from counterbench.metrics.references import References
from counterbench.models.baselines import Identity
from counterbench.plans.question import Question

NAMES = ("a", "b", "c")
PAIRS = (("a", "c"), ("b", "c"))
JOINT = (("a", "c"), ("a", "b"))


class ToyPosterior(FeatureSpace):
    """A posterior with mean (a, b, c) and scales that differ from image to image."""

    title = "toy posterior"

    @property
    def fingerprint(self) -> str:
        return "toy posterior"

    def _extract(self, images):
        seen = read(images)
        return torch.cat([seen, -1 + 0.2 * torch.tanh(seen)], 1)


PARTS = ("ground", "dark", "bright")
OWNED = {"a": ("dark",), "b": (), "c": ("dark", "bright"), ("a", "c"): ("dark", "bright"), ("a", "b"): ("dark",)}


def parts_of(images):
    """The parts of images, by their brightness and whether they lie in one of the first two columns."""
    level = images.float().mean(1)
    found = 1 + (level >= level.flatten(1).mean(1).view(-1, *[1] * (level.ndim - 1))).long()
    found[..., :2] = 0
    return found


def boxes_of(rows):
    """A box for two of three rows."""
    edges = torch.stack([rows % 3, rows % 2, 4 + rows % 4, 5 + rows % 3], 1).float()
    edges[rows % 3 == 0] = torch.nan
    return edges


def heat_of(images, phrases, rule):
    """Where the toy looks for a phrase: brighter or darker places, by the number of its letters."""
    level = images.double().mean(1)
    sign = torch.tensor([1.0 if len(phrase) % 2 else -1.0 for phrase in phrases], dtype=torch.float64)
    return level * sign.view(-1, *[1] * (level.ndim - 1))


SPACES = {"pixel": Pixel(), "posterior": ToyPosterior(), "judge": Pixel(), "embedding": ToyResidual()}


def setting(dataset: Toy, **changes) -> Setting:
    """Everything there is to know about the toy."""
    train = dataset.attributes("train")
    shares = train["c"].bincount() / len(train["c"])
    known = {
        "graph": dataset.graph,
        "variables": dataset.variables,
        "image": "image",
        "intervenable": NAMES,
        "judged": NAMES,
        "cycles": 2,
        "with_truth": NAMES,
        "undo": NAMES,
        "pairs": PAIRS,
        "ensembles": ("c",),
        "spread": {
            "a": float(train["a"].std()),
            "b": float(train["b"].std()),
            "c": float(((1 - shares.square().sum()) / 2).sqrt()),
        },
        "spaces": SPACES,
        "references": References(dataset),
        "typical_change": dataset.card.typical_change["formula"],
        "noise": {"a.e": 1, "image.e": 64, "image.latent": 4},
        "parts": PARTS,
        "owned": OWNED,
        "segmented": True,
        "boxed": ("a",),
        "captioned": True,
    }
    return Setting(**{**known, **changes})


def of_another_training(values, number):
    """An answer as another training might give it: lighter on the left or darker at the top."""
    image = values["image"].clone()
    image[..., :number, :] -= 5.0 * number
    image[..., :3] += 2.0
    return {**values, "image": image}


def noise_of(sampled, factual):
    """The noise of a and of the image; what is called a latent holds a, b and a sum of both, and something of the image's noise."""
    found = {f"{name}.e": sampled[name]["e"].flatten(1) for name in ("a", "image")}
    own, a, b = found["image.e"][:, 0].double(), factual["a"].double(), factual["b"].double()
    return {**found, "image.latent": torch.stack([own, b + 0.5 * own, -a, a * b + own], 1)}


def answers(dataset: Toy, answer, order, noise: bool = True, joint=(), shake=None):
    """Every kind of answer for some rows, by a function (given, held, truth) -> values.

    Args:
        dataset: the toy.
        answer: gets the samples, the values that are held, and the true answer.
        order: batches of rows.
        noise: whether the model gives access to its noise.
        joint: pairs of variables that are set at once.
        shake: a small perturbation of images; none without it.
    """
    panels = judges.load(dataset.card, dataset.source)
    instruments = Instruments(lambda images: judges.measure_all(panels, images), SPACES, parts_of)
    identity, matcher, scm = Identity(dataset), Matcher(dataset), exact_scm()
    split = dataset.split("test")
    for rows in order:
        factual = split.take(rows)

        def truth_of(done, rows=rows):
            return dataset.truth("test", rows, done)

        def wanted(name, rows=rows):
            value = split.take((rows + 41) % COUNTS["test"])[name]
            return (value + 1) % 3 if name == "c" else value

        def matched(name, rows=rows, factual=factual, wanted=wanted):
            nearest = matcher.nearest(identity.counterfactual(factual, {name: wanted(name)}))[:, 0]
            real = dataset.split("train")
            return View(real.take(nearest)["image"], instruments, group=real.group[nearest])

        def sampled(rows=rows, factual=factual):
            abducted = scm.abduct(factual)
            prior = scm.sample_noise(len(rows), SampleNoise(0, rows.tolist()))
            return NoiseSample(noise_of(abducted, factual), noise_of(prior, factual))

        batch = Batch(
            factual,
            "image",
            instruments=instruments,
            null=lambda factual=factual: answer(factual, {}, factual),
            view=View(factual["image"], instruments, group=split.group[rows]),
            matched=matched,
            noise=sampled if noise else None,
            shake=shake,
            held_out=lambda rows=rows: View(dataset.split("judge").take(rows % COUNTS["judge"])["image"], instruments),
            regions=Regions(
                mask=lambda factual=factual: parts_of(factual["image"]),
                boxes=lambda rows=rows: boxes_of(rows),
                captions=lambda rows=rows: ["x" * (1 + int(row) % 2) for row in rows],
                true_mask=lambda question, truth_of=truth_of: parts_of(truth_of(question.held)["image"]),
            ),
            grounding=PhraseMaps(
                lambda phrases, rule, factual=factual: heat_of(factual["image"], phrases, rule),
                lambda phrases, rule, factual=factual: -heat_of(factual["image"], phrases, rule),
            ),
            drawing=Drawing(partial(drawn_for, dataset), lambda images, attributes, streams: 1 + attributes["a"].abs()),
        )
        given, null = factual, None
        for cycle in (1, 2):
            given = Samples(answer(given, {}, given), rows)
            null = Question("null", rows, follows=null, cycle=cycle)
            yield Answers(batch, null, given, targets=factual, truth=factual)
        singles, asked = {}, {}
        for name in NAMES:
            held, truth = {name: wanted(name)}, truth_of({name: wanted(name)})
            singles[name] = Samples(answer(factual, held, truth), rows, done=held)
            asked[name] = Question("single", rows, name, held[name])
            targets = identity.attributes(factual, held)
            cost = {
                "seconds": 0.5,
                "evaluations": 2.0,
                "parameters": 7.0,
                "peak_memory": float(rows[0]),
                "training_time": 3.0,
            }
            drawn = partial(brighter, singles[name])
            others = [of_another_training(singles[name], number) for number in (1, 2)]
            yield Answers(
                batch, asked[name], singles[name], targets=targets, truth=truth, cost=cost, drawn=drawn, others=others
            )
        for name in NAMES:
            held = {name: factual[name]}
            back = Question("return", rows, name, factual[name], asked[name])
            yield Answers(batch, back, answer(singles[name], held, factual))
        for a, b in PAIRS:
            both = truth_of({a: wanted(a), b: wanted(b)})
            first, second = (answer(singles[x], {y: wanted(y)}, both) for x, y in ((a, b), (b, a)))
            yield Answers(batch, Question("pair", rows, b, wanted(b), asked[a]), first, other=second)
        for a, b in joint:
            held = {a: wanted(a), b: wanted(b)}
            truth, targets = truth_of(held), identity.attributes(factual, held)
            question = Question("joint", rows, a, held[a], beside={b: held[b]})
            yield Answers(batch, question, answer(factual, held, truth), targets=targets, truth=truth)

        other = split.take((rows + 53) % COUNTS["test"])
        made = {**factual, "image": answer(other, {}, other)["image"]}
        captions = {name: factual[name] for name in NAMES}
        yield Answers(batch, Question("sample", rows, beside=captions), made, targets=factual)


def drawn_for(dataset: Toy, attributes, streams):
    """What is drawn for training images: of every third one the image itself, again and again; of others something else each time."""
    images = []
    for row, draw in (map(int, stream.split("/")[1:]) for stream in streams):
        image = dataset.split("train").take(torch.tensor([row]))["image"]
        images.append(
            image if row % 3 == 0 else (image + 4 * (draw + 1) * torch.sin(image + draw)).round().clamp(0, 255)
        )
    return torch.cat(images)


def brighter(values, number: int):
    """A draw of an answer, so many grey levels brighter than the first."""
    return {**values, "image": values["image"] + number}


def untied(dataset: Toy, count: int) -> torch.Tensor:
    """Those of the first rows whose posterior no training image has: whole grey levels make some images equally far."""
    own, real = (
        ToyPosterior().extract(dataset.split(name).take(slice(0, None))["image"]) for name in ("test", "train")
    )
    return ((own[:count, None] - real[None]).abs().amax(2).amin(1) > 0.01).nonzero()[:, 0]


def computed(name: str, known: Setting, batches, **options):
    """All columns of a metric."""
    from counterbench.plugins import registry

    metric = registry.metrics.get(name)(known, **options)
    for one in batches:
        metric.update(one)
    return metric.compute()


def points(name: str, known: Setting, dataset: Toy, answer, rows=range(60), **options):
    """(quantity, intervened, measured, cycles) -> value."""
    columns = computed(name, known, answers(dataset, answer, [torch.tensor(list(rows))]), **options)
    return {(c.cell.quantity, c.cell.intervened_in_words, c.cell.measured, c.cell.cycles): c.point() for c in columns}


def noisy(factual, held, truth):
    """The truth with noise that depends on the sample alone, in whole grey levels."""
    return {**truth, "image": (truth["image"] + torch.sin(factual["image"] * 3.1)).round().clamp(0, 255)}


def unchanged(factual, held, truth):
    return {**truth, "image": factual["image"]}


def true(factual, held, truth):
    return dict(truth)


def halfway(factual, held, truth):
    return {**truth, "image": 0.5 * (factual["image"] + truth["image"])}


def take_and_dump(rows: tuple[int, int], path: str, metrics: dict) -> None:
    """What a process does that examines some of the samples: its metrics take them, and are stored."""
    from counterbench.plugins import registry
    from counterbench.storage.tensors import write_tensors

    torch.set_num_threads(1)
    dataset = Toy()
    known = setting(dataset)
    stored = {}
    for name, options in metrics.items():
        metric = registry.metrics.get(name)(known, **options)
        for one in answers(dataset, noisy, [torch.arange(*rows)]):
            metric.update(one)
        stored |= {f"{name}/{state}": value for state, value in metric.dump().items()}
    write_tensors(Path(path), stored)
