"""Runs whose numbers are computed twice: answers as the package's objects, and the same as plain arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import asked
import numpy as np
import torch
import toy
from metrics import recomputed
from torch.nn.functional import avg_pool2d, pad

from counterbench.causal.graph import CausalGraph
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Binary, Categorical, Continuous, Image
from counterbench.judges import Reading
from counterbench.metrics.answers import Answers, Batch, Instruments
from counterbench.metrics.base import Setting
from counterbench.metrics.localisation import random_map
from counterbench.metrics.statistics.laws import halves
from counterbench.plans.question import Question

ROWS = torch.randperm(120, generator=torch.Generator().manual_seed(0))[:96]
BATCHES = ROWS.split(56)  # of unequal size: a mean over batches is another number
GRAIN = torch.arange(64).view(8, 8).mul(2.3).sin().mul(8).round().mul(0.75)


@dataclass(frozen=True)
class Run:
    """Answers to everything that was asked, twice, and what is known beside them."""

    setting: Setting
    answers: Sequence[Answers]
    world: recomputed.World

    @property
    def asked(self) -> list[recomputed.Asked]:
        """One entry per question, its batches joined."""
        by_name: dict[str, list[recomputed.Asked]] = {}
        for one in self.answers:
            by_name.setdefault(one.question.name, []).append(plain(one))
        return [recomputed.Asked(**joined([vars(part) for part in parts])) for parts in by_name.values()]


def arrays(values):
    return {name: value.numpy().astype(np.float64) for name, value in (values or {}).items()}


def plain(answers):
    """One batch of answers as arrays."""
    batch, question = answers.batch, answers.question
    unit = batch.view.group if batch.view.group is not None else batch.index
    matched = batch.matched(question.variable) if answers.kind == "single" else None
    return recomputed.Asked(
        answers.kind,
        (question.variable,) if answers.kind == "return" else answers.intervened,
        answers.cycles,
        unit.numpy(),
        factual=arrays(answers.factual),
        answer=arrays(answers.values),
        null=arrays(batch.null_values),
        held=arrays(answers.wanted),
        targets=arrays(answers.targets),
        truth=arrays(answers.truth),
        other=arrays(answers.other),
        matched=None if matched is None else matched.images.numpy().astype(np.float64),
        matched_unit=None if matched is None else matched.group.numpy(),
        others=np.stack([values["image"].numpy().astype(np.float64) for values in answers.others], 1)
        if answers.others
        else None,
        **(of_sample(answers) if answers.kind == "sample" else {"draws": of_draws(answers)}),
        latents=None if batch.noise is None else batch.noise.abducted["image.latent"].numpy(),
        cost={name: np.full(len(unit), value) for name, value in answers.cost.items()},
        **of_regions(answers),
    )


def of_regions(answers):
    """Parts, boxes and maps, where there are any."""
    batch = answers.batch
    if batch.regions.mask is None or answers.kind not in ("null", "single", "joint"):
        return {}
    found = {
        "parts": batch.regions.mask,
        "true_parts": answers.true_parts,
        "found_parts": answers.view.parts,
        "boxes": batch.regions.boxes.double(),
        "random": random_map(answers.values["image"][:, 0], answers.index),
    }
    if batch.grounding is not None and answers.kind == "null":
        found["heat"] = batch.grounding.trained(batch.regions.captions, {})
        found["cold"] = batch.grounding.untrained(batch.regions.captions, {})
    return {name: value.numpy() for name, value in found.items()}


def of_sample(answers, tried=100):
    """What is drawn for every fourth training image: the toy has 400, of which 100 are tried."""
    index, drawing = answers.index, answers.batch.drawing
    target = torch.where(index < tried, 4 * index, -1)
    drawn = [
        drawing.draw({}, [f"extraction/{at}/{number}" for number in range(50)]) for at in target.clamp(min=0).tolist()
    ]
    train = toy.Toy().attributes("train")
    return {
        "held_out": answers.batch.held_out.images.numpy().astype(np.float64),
        "tried": target.numpy(),
        "norm": 1 + train["a"][target.clamp(min=0)].abs().numpy().astype(np.float64),
        "draws": torch.stack(drawn).numpy().astype(np.float64),
    }


def of_draws(answers):
    """The images of 20 draws, where there are any."""
    return None if answers.drawn is None else np.stack([of_draw(answers, number) for number in range(20)], 1)


def of_draw(answers, number):
    """The images of a draw."""
    return answers.drawn(number)["image"].numpy().astype(np.float64)


def joined(parts):
    first = parts[0]
    if isinstance(first, dict):
        return {key: joined([part[key] for part in parts]) for key in first}
    return np.concatenate(parts) if isinstance(first, np.ndarray) else first


def shake(images):
    """Half a pixel to the right, and some grain; of tensors and of arrays."""
    grain = GRAIN if isinstance(images, torch.Tensor) else GRAIN.numpy()
    return 0.5 * images[..., [7, *range(7)]] + 0.5 * images + grain


# The toy


def whole(image):
    return image.round().clamp(0, 255)


def of_another(image, who):
    """Some images with their noise a row further: the same a, b and c, and somebody else."""
    moved = torch.cat([half.roll(1, 2) for half in image.split(4, 2)], 2)
    return torch.where(who.view(-1, 1, 1, 1), moved, image)


def grainy(given, held, truth):
    """The truth under noise, with claims that are a little wrong, for some samples more than for others."""
    rough = (given["a"].abs() * 9).view(-1, 1, 1, 1)
    image = truth["image"] + rough * torch.sin(given["image"] * 3.1)
    wrong = (given["b"] * 12).round().long() % 5 == 0
    claims = {
        "a": truth["a"] + 0.1 * torch.sin(5 * given["b"]),
        "b": truth["b"] + 0.25 * torch.cos(7 * given["a"]),
        "c": torch.where(wrong, (truth["c"] + 1) % 3, truth["c"]),
    }
    return {**claims, **held, "image": whole(of_another(image, given["c"] == 1))}


def blurred(image):
    return 0.7 * image + 0.3 * avg_pool2d(pad(image, (1, 1, 1, 1), mode="reflect"), 3, 1)


def timid(given, held, truth):
    """Six tenths of the change, blurred; what follows goes half of its way."""
    image = given["image"] + 0.6 * (truth["image"] - given["image"])
    claims = {name: 0.5 * (given[name] + truth[name]) + 0.1 for name in ("a", "b")}
    return {**claims, "c": given["c"], **held, "image": whole(blurred(image))}


def bold(given, held, truth):
    """Half too much of the change, a shift of brightness, a stripe for some, and the class one too far for the dark half."""
    image = given["image"] + 1.5 * (truth["image"] - given["image"]) + 3 * torch.sign(given["b"]).view(-1, 1, 1, 1)
    image[..., 6:] += 12 * (given["b"] > 1.5).view(-1, 1, 1, 1)
    claims = {name: 1.5 * truth[name] - 0.5 * given[name] for name in ("a", "b")}
    return {
        **claims,
        "c": (truth["c"] + (given["a"] < 0)) % 3,
        **held,
        "image": whole(of_another(image, given["a"] > 1)),
    }


def read(images):
    """a, b and c of the toy's images, by its formula: one judge each."""
    shapes = toy.patterns().numpy()
    strength = (images.reshape(len(images), -1) - 128) @ shapes.T / np.square(shapes).sum(1) / (12, 12, 20)
    classes = np.clip(np.rint(strength[:, 2]), 0, 2).astype(int)
    return {"a": strength[None, :, 0], "b": strength[None, :, 1], "c": np.eye(3)[classes][None]}


def features(space, images):
    """As the space gives them, in single precision."""
    return asked.SPACES[space].extract(torch.from_numpy(images).float()).numpy().astype(np.float64)


def first_half(unit):
    """Which half each unit is in: drawn by the package, for a definition cannot say how the dice fall."""
    return halves(torch.from_numpy(unit)).numpy()


def toy_world(dataset):
    test = dataset.split("test")
    units, first = np.unique(test.group.numpy(), return_index=True)
    return recomputed.World(
        {"a": "continuous", "b": "continuous", "c": "class"},
        {name: dataset.graph.parents(name) for name in dataset.graph},
        arrays(dataset.attributes("train")),
        judged=asked.NAMES,
        panels=("c",),
        intervenable=asked.NAMES,
        read=read,
        features=features,
        shake=shake,
        real=dataset.split("train").values["image"].numpy().astype(np.float64),
        held_out=dataset.split("judge").values["image"].numpy().astype(np.float64),
        of_others=dataset.split("validation").values["image"].numpy().astype(np.float64),
        everybody=(test.values["image"].numpy().astype(np.float64)[first], units),
        typical_change=dataset.card.typical_change["formula"],
        first_half=first_half,
    )


def of_toy(answer):
    """The toy, answered by a function, with costs that differ from question to question and from batch to batch."""
    dataset = toy.Toy()
    answers = [
        replace(
            one,
            cost={key: value + number * math.sqrt(value + ord(answer.__name__[0])) for key, value in one.cost.items()},
        )
        for number, one in enumerate(asked.answers(dataset, answer, BATCHES, joint=asked.JOINT, shake=shake))
    ]
    setting = asked.setting(dataset, joint=asked.JOINT, joint_with_truth=asked.JOINT)
    return Run(setting, answers, toy_world(dataset))


def of_unseen():
    """The toy, as if no image showed a, and b and c followed from it: c should become the next class."""
    run, judged = of_toy(grainy), ("b", "c")
    edges = {**run.world.parents, "c": ("a",)}
    answers = [
        replace(one, targets={**one.targets, "c": (one.factual["c"] + 1) % 3})
        if one.question.name == "single/a"
        else one
        for one in run.answers
    ]
    return Run(
        replace(run.setting, judged=judged, graph=CausalGraph(edges)),
        answers,
        replace(run.world, judged=judged, parents=edges),
    )


# A binary variable and panels of three judges


def panels(images):
    """s (binary), w and t, read by three judges, three and one."""
    dark, wide = (images[:, 0, rows] for rows in (slice(0, 4), slice(4, 8)))
    seen = [dark[:, :3].mean((1, 2)) - 20, dark[:, 1:].mean((1, 2)), dark.mean((1, 2)) + 25]
    shares = [1 / (1 + np.exp((128 - level) / 30)) for level in seen]
    return {
        "s": np.stack([np.stack([1 - share, share], 1) for share in shares]),
        "w": np.stack([wide[..., :4].mean((1, 2)) / 20, wide.max((1, 2)) / 30, wide[:, 2:].mean((1, 2)) / 20]),
        "t": images[..., 6:].mean((1, 2, 3))[None] / 9 % 8,
    }


def of_panels(seed):
    """s -> w, and t, all of them shown; answers go most of the way."""
    graph = {"s": (), "w": ("s",), "t": (), "image": ("s", "w", "t")}
    rng = np.random.default_rng(seed)
    train = {"s": rng.integers(2, size=200), "w": rng.normal(4, 2, 200), "t": rng.uniform(0, 8, 200)}
    world = recomputed.World(
        {"s": "binary", "w": "continuous", "t": "periodic"},
        graph,
        train,
        judged=("s", "w", "t"),
        panels=("s", "w"),
        intervenable=("s", "w"),
        read=panels,
        shake=shake,
        turns={"t": 8.0},
    )
    variables = {"s": Binary("s"), "w": Continuous("w", 0, 10), "t": Continuous("t", 0, 8, periodic=True)}
    setting = Setting(
        CausalGraph(graph),
        {**variables, "image": Image("image", 1, 8, 8)},
        "image",
        ("s", "w"),
        ("s", "w", "t"),
        cycles=1,
        with_truth=(),
        ensembles=("s", "w"),
        spread={name: world.spread(name) for name in variables},
    )
    return Run(setting, [one for part in range(2) for one in of_panels_batch(rng, part)], world)


def of_panels_batch(rng, part, count=40):
    def drawn():
        s = rng.integers(2, size=count)
        return {"s": s, "w": rng.normal(3 + 2 * s, 1.5), "t": rng.uniform(0, 8, count)}

    def shown(values):
        image = np.repeat(rng.normal(110 + 40 * values["s"], 25)[:, None, None], 8, 1).repeat(8, 2)
        image[:, 4:] = 20 * values["w"][:, None, None]
        image[:, :, 6:] += 3 * values["t"][:, None, None]
        return np.clip(np.rint(image + rng.normal(0, 12, image.shape)), 0, 255)[:, None]

    rows = torch.arange(count) + count * part
    factual, targets = drawn(), drawn()
    see = Instruments(
        lambda images: {n: Reading(torch.from_numpy(v)) for n, v in panels(images.double().numpy()).items()}
    )
    before = Samples(tensors({**factual, "image": shown(factual)}), rows)
    batch = Batch(before, "image", instruments=see, shake=shake)
    for name in ("s", "w"):
        kept = {other: factual[other] for other in ("s", "t") if other != name}
        wanted = {**targets, **kept} if name == "w" else {**targets, **kept, "s": 1 - factual["s"]}
        held = tensors(wanted)[name]
        answer = {**tensors({**wanted, "image": shown(wanted)})}
        yield Answers(batch, Question("single", rows, name, held), answer, targets=tensors(wanted))


def tensors(values):
    return {
        name: torch.from_numpy(value) if value.dtype == np.int64 else torch.from_numpy(value).float()
        for name, value in values.items()
    }


# Without images


TABLE = {"x": (), "y": ("x",), "z": ("y",), "turn": ("x",), "k": ("y",), "alone": ()}
KINDS = dict.fromkeys(TABLE, "continuous") | {"turn": "periodic", "k": "class"}


def of_table(seed, intervenable=("x", "y")):
    """x -> y -> z, an angle and a class that follow; answers that are off by something."""
    rng = np.random.default_rng(seed)
    world = recomputed.World(
        KINDS, TABLE, table(rng, 300), intervenable=intervenable, turns={"turn": 360.0}, first_half=first_half
    )
    variables = {name: Continuous(name, -9, 9) for name in TABLE}
    variables |= {"turn": Continuous("turn", 0, 360, periodic=True), "k": Categorical("k", ("one", "two", "three"))}
    setting = Setting(
        CausalGraph(TABLE),
        variables,
        "",
        intervenable,
        (),
        cycles=1,
        with_truth=intervenable,
        spread={name: world.spread(name) for name in TABLE},
        scale={name: world.scale(name) for name in TABLE},
    )
    return Run(setting, [one for part in range(2) for one in of_table_batch(rng, part, world)], world)


def table(rng, count):
    x = rng.normal(0, 2, count)
    y = x + rng.normal(1, 1, count)
    turn = (170 + 60 * x + rng.normal(0, 20, count)) % 360
    classes = np.clip(np.rint(y), 0, 2).astype(np.int64)
    return {
        "x": x,
        "y": y,
        "z": y**2 / 3 + rng.normal(0, 1, count),
        "turn": turn,
        "k": classes,
        "alone": rng.normal(size=count),
    }


def of_table_batch(rng, part, world, count=35):
    rows = torch.arange(count) + count * part
    factual = tensors(table(rng, count))

    def off(values, size):
        moved = {
            name: value + size * torch.from_numpy(rng.normal(0, 1, count)).float() for name, value in values.items()
        }
        moved["turn"] = (values["turn"] + 90 * size * torch.from_numpy(rng.normal(0, 1, count)).float()) % 360
        flips = torch.from_numpy(rng.random(count) < size)
        return {**moved, "k": torch.where(flips, (values["k"] + 1) % 3, values["k"])}

    null = off(factual, 0.1)
    batch = Batch(Samples(factual, rows), "", null=lambda: null)
    for name in world.intervenable:
        fresh, changed = tensors(table(rng, count)), world.descendants([name]) | {name}
        truth = {other: fresh[other] if other in changed else factual[other] for other in factual}
        truth["z"][3] = 0.0 if "z" in changed else truth["z"][3]  # no percentage of nothing
        answer = {**off(truth, 0.4), name: truth[name]}
        yield Answers(batch, Question("single", rows, name, truth[name]), answer, targets=truth, truth=truth)
