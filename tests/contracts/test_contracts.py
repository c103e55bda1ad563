"""What `counterbench check` says: nothing against our own components, and the right thing against broken ones."""

from typing import ClassVar

import pytest
import torch
from click.testing import CliRunner
from toy import CARD, ExactModel, Linear, Toy, ToyReader, exact_scm

from counterbench import datasets
from counterbench.cli import main
from counterbench.contracts import checking, instruments, mechanisms, metrics, models
from counterbench.contracts import datasets as of_data
from counterbench.contracts.base import run, told
from counterbench.datasets.dataset import Split
from counterbench.errors import UnknownNameError
from counterbench.features.base import FeatureSpace
from counterbench.metrics.answers import l1
from counterbench.metrics.base import Cell, SampleMetric
from counterbench.models.model import Contestant
from counterbench.plugins import registry


@pytest.fixture(scope="module")
def dataset():
    return Toy()


def broken(findings):
    return {finding.title: finding.advice for finding in findings if finding.status == "broken"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("toy-exact", "model"),
        ("identity", "model"),
        ("noise", "model"),
        ("retrieve", "model"),
        ("truth", "model"),
        ("spline_flow", "mechanism"),
        ("categorical", "mechanism"),
        ("toy", "dataset"),
        ("composition", "metric"),
        ("effectiveness", "metric"),
        ("truth", "metric"),
        ("toy-reader", "judge"),
        ("pixel", "feature"),
    ],
)
def test_what_is_right_is_called_right(name, kind, dataset):
    findings = list(checking.check(name, kind, dataset))
    assert broken(findings) == {}
    assert sum(finding.status == "ok" for finding in findings) >= 2


@pytest.mark.parametrize("name", ["morphomnist", "adni", "celeba-simple"])
@pytest.mark.slow
def test_our_datasets_keep_the_contract(name):
    assert broken(checking.check(name, "dataset", datasets.load(name))) == {}


# --- models -----------------------------------------------------------------------------------------------------------


class Grey(ExactModel):
    def counterfactual(self, factual, interventions, generator=None):
        return {key: value.clone() for key, value in super().counterfactual(factual, interventions).items()}


class Scaled(Grey):
    def counterfactual(self, *asked):
        answer = super().counterfactual(*asked)
        return {**answer, "image": answer["image"] / 255}


class Batched(Grey):
    def counterfactual(self, *asked):
        answer = super().counterfactual(*asked)
        return {**answer, "image": answer["image"] - answer["image"].mean() + 128}


class Moody(Grey):
    def counterfactual(self, *asked):
        answer = super().counterfactual(*asked)
        return {**answer, "image": answer["image"] + torch.rand(())}


class Meddling(Grey):
    def counterfactual(self, factual, interventions, generator=None):
        answer = super().counterfactual(factual, interventions)
        return {**answer, "c": answer["c"] if "c" in interventions else (answer["c"] + 1) % 3}


class Writing(Grey):
    def counterfactual(self, factual, interventions, generator=None):
        answer = super().counterfactual(factual, interventions)
        factual["image"].zero_()
        return answer


class Deaf(Grey):
    def counterfactual(self, factual, interventions, generator=None):
        return super().counterfactual(factual, {})


class Loud(Grey):
    def counterfactual(self, factual, interventions, generator=None):
        raise IndexError("of mine")


class Refusing(Grey):
    def can_answer(self, intervened):
        return False


class Uneven(Grey):
    def abduct(self, factual, generator=None):
        return {"a": {"e": torch.zeros(factual.count, 2)}}

    def sample_noise(self, count, generator=None):
        return {"a": {"e": torch.zeros(count, 3)}}


class Unique(Grey):
    def __init__(self):
        super().__init__()
        self.pages = (page for page in ())


class Noting(Grey):
    asked: ClassVar[list[int]] = []

    def counterfactual(self, factual, interventions, generator=None):
        self.asked.append(factual.count)
        return super().counterfactual(factual, interventions)


@pytest.mark.parametrize(
    ("model", "title", "words"),
    [
        (Scaled, "images are grey levels from 0 to 255", "scale 0..1 by 255"),
        (Batched, "the same question gets the same answer alone, in company and in any order", "batch"),
        (Moody, "asked again it answers the same, whatever the global seed is", "the generator that is given"),
        (Meddling, "attributes that an intervention cannot reach stay as they were", "another c"),
        (Writing, "does not write into the samples that it is given", "copy before you write"),
        (Deaf, "answers an intervention on each variable, and returns what was set", "do(a)"),
        (Loud, "answers the null intervention with a value of every variable", "IndexError: of mine (" + __file__),
        (Refusing, "images are grey levels from 0 to 255", "says no to everything"),
        (Unique, "a copy can be made of it that has seen no question", "it cannot be copied (TypeError"),
        (Noting, "a copy can be made of it that has seen no question", "Noting.asked"),
        (Uneven, "abducted noise and noise of the prior have the same names and sizes", "must be alike"),
    ],
)
def test_broken_models_are_told_what_to_mend(model, title, words, dataset):
    factual = dataset.split("test").take(slice(0, models.COUNT))
    case = models.ModelCase(Contestant("it", model()), dataset, factual)
    assert words in broken(run(models.CHECKS, case, "toy"))[title]


# --- mechanisms -------------------------------------------------------------------------------------------------------


class Lossy(Linear):
    """Rounds."""

    def generate(self, noise, parents, intervened=frozenset()):
        return (super().generate(noise, parents) * 10).round() / 10


class Restless(Linear):
    """Draws from the global generator.

    Args:
        shift, scale: as they are.
    """

    def abduct(self, value, parents, generator=None):
        return {"e": super().abduct(value, parents)["e"] + 1e-6 * torch.randn(value.shape)}


class Pretender(Linear):
    """Says that it draws."""

    stochastic_abduction = True


class Forgetful(Linear):
    """Keeps a number where nobody stores it."""

    def prepare(self, value, parents):
        self.seen = value.mean()

    def abduct(self, value, parents, generator=None):
        return {"e": super().abduct(value, parents)["e"] + self.scale * 0 + getattr(self, "lost", 0)}

    def load_state_dict(self, *given, **options):
        self.lost = 1.0
        return super().load_state_dict(*given, **options)


class Idle(Linear):
    """Has a parameter for nothing."""

    def __init__(self, variable, parents):
        super().__init__(variable, parents)
        self.spare = torch.nn.Parameter(torch.zeros(1))


class Crowded(Linear):
    """Subtracts the batch's mean."""

    def abduct(self, value, parents, generator=None):
        return super().abduct(value - value.mean() + 0.1, parents)


class Single(Linear):
    """Single precision."""

    def generate(self, noise, parents, intervened=frozenset()):
        return super().generate(noise, parents).float()


class Total(Linear):
    """A loss for the batch."""

    def loss(self, value, parents, generator=None):
        return super().loss(value, parents).mean()


class Wild(Linear):
    """Samples far outside."""

    def sample_noise(self, count, generator=None):
        return {"e": torch.full((count, 1), torch.nan)}


@pytest.mark.parametrize(
    ("family", "title", "words"),
    [
        (Lossy, "generate undoes abduct, where `invertible` says so", "set invertible = False"),
        (Restless, "the same generator gives the same noise, whatever the global seed is", "global seed"),
        (
            Pretender,
            "the same generator gives the same noise, whatever the global seed is",
            "stochastic_abduction = False",
        ),
        (Forgetful, "saved and loaded, it answers the same", "register_buffer"),
        (Idle, "the loss is one finite number per sample, and depends on every parameter", "spare"),
        (Crowded, "the same sample gets the same answer alone and in company", "over the batch"),
        (Single, "double precision in, double precision out", "generate gives torch.float32"),
        (Total, "the loss is one finite number per sample, and depends on every parameter", "one number per sample"),
        (Wild, "noise from the prior gives values that the variable can have", "a"),
    ],
)
def test_broken_mechanisms_are_told_what_to_mend(family, title, words, dataset):
    case = mechanisms.make_case(family(dataset.variables["a"], ()), dataset)
    assert words in broken(run(mechanisms.CHECKS, case, "a"))[title]


def test_observed_classes_must_survive(dataset):
    categorical = registry.mechanisms.get("categorical")

    class Prior(categorical):
        def abduct(self, value, parents, generator=None):
            return self.sample_noise(len(value), generator)

    case = mechanisms.make_case(Prior(dataset.variables["c"], ()), dataset)
    found = broken(run(mechanisms.CHECKS, case, "c"))
    assert "truncated Gumbel" in found["a null intervention keeps every observed class, whatever is drawn"]


def test_families_that_say_too_little():
    class Mute(Linear):
        """Of few words."""

        def __init__(self, variable, parents, power):
            torch.nn.Module.__init__(self)

    class Unsure(Linear):
        kinds = ("continuous", "fuzzy")

    assert broken(run(mechanisms.FAMILY_CHECKS, Mute, "it")) == {
        "every option has a default and a line in the docstring": "give the option 'power' a default: a recipe may leave it out",
        "refuses a variable of a kind that it does not model": "TypeError: "
        "test_families_that_say_too_little.<locals>.Mute.__init__() missing 1 required positional argument: 'power'",
    }
    assert "fuzzy" in next(iter(broken(run(mechanisms.FAMILY_CHECKS, Unsure, "it")).values()))
    assert "subclass" in next(iter(broken(run(mechanisms.FAMILY_CHECKS, dict, "it")).values()))


def test_a_recipe_is_checked_with_its_options(tmp_path, dataset):
    recipe = tmp_path / "mine.yaml"
    text = "name: mine\ntitle: mine\ndataset: toy\ndescription: d\ncitation: c\nseed: 0\nmechanisms:\n"
    for name, family in {"a": "toy-linear", "b": "toy-linear", "c": "categorical", "image": "toy-picture"}.items():
        text += f"  {name}: {{family: {family}, fit: {{epochs: 1, batch_size: 8, learning_rate: 0.1, patience: 1}}}}\n"
    recipe.write_text(text)
    assert checking.kinds_of(str(recipe), "toy") == ["recipe"]
    findings = list(checking.check(str(recipe), "recipe", dataset))
    assert {finding.subject for finding in findings} == {"a", "b", "c", "image"}


# --- datasets ---------------------------------------------------------------------------------------------------------


class Short(Toy):
    def split(self, name):
        whole = super().split(name)
        return Split(name, {key: value[:-1] for key, value in whole.values.items()}, whole.group[:-1])


class Leaking(Toy):
    def split(self, name):
        return super().split("train") if name == "test" else super().split(name)


class Random(Toy):
    def split(self, name):
        whole = super().split(name)
        return Split(name, {**whole.values, "a": whole.values["a"] + torch.rand(()) * 1e-3}, whole.group)


class Untrue(Toy):
    def true_attributes(self, split, index, interventions):
        truth = super().true_attributes(split, index, interventions)
        return {**truth, "c": truth["c"] if "c" in interventions else (truth["c"] + 1) % 3}


class Drifting(Toy):
    def _true_image(self, split, index, attributes):
        return super()._true_image(split, index, attributes) + len(index)


class Wide(Toy):
    def split(self, name):
        whole = super().split(name)
        return Split(name, {**whole.values, "a": whole.values["a"] * 9}, whole.group)


@pytest.mark.parametrize(
    ("family", "title", "words"),
    [
        (Short, "every split holds a legal value of every variable for every sample", "the card says"),
        (Leaking, "whoever is in one split is in no other", "in train and in test"),
        (Leaking, "no test image is a training image", "duplicates"),
        (Random, "loaded again, it holds the same numbers", "seed whatever it draws"),
        (Untrue, "an intervention changes nothing that is no descendant, and shows what was set", "changes c"),
        (Untrue, "setting a variable to the value it has gives the factual image", "another c"),
        (Drifting, "a sample's truth is the same alone, in company and in any order", "depends on its batch"),
        (Wide, "quantities lie in the ranges that the card declares", "widen it in the card"),
    ],
)
def test_broken_datasets_are_told_what_to_mend(family, title, words):
    assert words in broken(of_data.check(family()))[title]


def test_judges_that_guess_are_found(dataset, monkeypatch):
    monkeypatch.setattr(ToyReader, "_measure", lambda self, images: torch.rand(len(images)))
    card = CARD.model_copy(update={"judges": {"a": CARD.judges["a"]}})
    found = broken(run((of_data.judges_read_real_images,), Toy(card), "toy"))
    assert "guessing the median" in found["its judges measure every attribute, better than a guess"]


# --- metrics ----------------------------------------------------------------------------------------------------------


class Change(SampleMetric):
    title, asks, definition, blind_to = "Change", frozenset({"single"}), "How much changes.", "Why."

    def make_cells(self):
        return [Cell("l1", "grey levels", "zero", name) for name in self.setting.intervenable]

    def update(self, answers):
        if answers.kind == "single":
            score = l1(answers.values["image"], answers.factual["image"])
            self.add(self.make_cells()[self.setting.intervenable.index(answers.intervened[0])], answers.index, score)


class Averaged(Change):
    def update(self, answers):
        if answers.kind == "single":
            score = l1(answers.values["image"], answers.factual["image"])
            cell = self.cells[self.setting.intervenable.index(answers.intervened[0])]
            self.add(cell, answers.index, score.mean().expand(len(score)))


class Repeated(Change):
    def make_cells(self):
        return super().make_cells() * 2


class Infinite(Change):
    def update(self, answers):
        if answers.kind == "single":
            cell = self.cells[self.setting.intervenable.index(answers.intervened[0])]
            self.add(cell, answers.index, torch.full((len(answers.index),), torch.inf))


class Silent(Change):
    def update(self, answers): ...


class Nameless(SampleMetric):
    asks = frozenset({"double"})

    def make_cells(self):
        return []

    def update(self, answers): ...


@pytest.mark.parametrize(
    ("family", "title", "words"),
    [
        (Averaged, "batch size changes no score", "score each sample by itself"),
        (Repeated, "make_cells lists each number once, with its unit and what is better", "twice"),
        (Infinite, "its numbers are finite, one per sample, and among those that it declares", "finite"),
        (Silent, "its numbers are finite, one per sample, and among those that it declares", "gave no number"),
        (Nameless, "has a title, says what it computes, and what it cannot tell", "title, definition, blind_to"),
    ],
)
def test_broken_metrics_are_told_what_to_mend(family, title, words, dataset):
    with registry.metrics.temporarily("mine", family):
        assert words in broken(metrics.check("mine", dataset))[title]


def test_a_right_metric_passes(dataset):
    with registry.metrics.temporarily("mine", Change):
        assert broken(metrics.check("mine", dataset)) == {}


# --- instruments ------------------------------------------------------------------------------------------------------


class Dropping(FeatureSpace):
    title = "drops"
    fingerprint = "drops"

    def _extract(self, images):
        return images.flatten(1) - images.mean() + torch.rand(())


class Hollow(ToyReader):
    def _measure(self, images):
        return super()._measure(images) / images.flatten(1).amax(1)


def test_broken_instruments_are_told_what_to_mend(dataset):
    images = dataset.split("test").take(slice(0, instruments.COUNT))["image"]
    found = broken(run(instruments.FEATURE_CHECKS, instruments.Sight(Dropping(), images), "toy"))
    assert "eval mode" in found["each image's vector depends on that image alone"]
    found = broken(run(instruments.JUDGE_CHECKS, instruments.Sight(Hollow(dataset.variables["a"]), images), "toy"))
    assert "empty image" in next(iter(found.values()))
    found = broken(run(instruments.JUDGE_CHECKS, instruments.Sight(Dropped(dataset.variables["a"]), images), "toy"))
    assert "it draws" in found["the same image gets the same result again"]


class Dropped(ToyReader):
    def _measure(self, images):
        return super()._measure(images) + torch.rand(())


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_speaks_and_fails():
    said = CliRunner().invoke(main, ["check", "toy-linear", "--dataset", "toy"])
    assert "ok" in said.output
    assert "class attributes" not in said.output
    with registry.models.temporarily("mine", lambda dataset: Scaled()):
        said = CliRunner().invoke(main, ["check", "mine", "--dataset", "toy"])
    assert said.exit_code == 1
    assert "scale 0..1 by 255" in said.output
    assert "does not keep its contract yet: 1 broken" in said.output


def test_unknown_names_and_kinds(monkeypatch):
    with pytest.raises(UnknownNameError, match="Did you mean 'spline_flow'"):
        checking.kinds_of("spline-flow", "toy")
    said = CliRunner().invoke(main, ["check", "spline_flow", "--kind", "metric"])
    assert (said.exit_code, said.output) == (1, "counterbench: --kind metric: spline_flow is mechanism.\n")
    assert checking.kinds_of("truth", "toy") == ["model", "metric"]


def test_mistakes_name_the_line():
    with pytest.raises(AttributeError) as caught:
        exact_scm().nothing  # noqa: B018
    assert f"({__file__}:" in told(caught.value)
