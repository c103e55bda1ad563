"""What a mechanism family promises; see :class:`counterbench.mechanisms.base.Mechanism`."""

from __future__ import annotations

import inspect
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from counterbench import models
from counterbench.causal.chance import Generator, SampleNoise
from counterbench.causal.variables import Binary, Categorical, Continuous, Image, Ordinal, Variable, Vector
from counterbench.contracts.base import BrokenError, Finding, NotAskedError, require, run, same, told
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError, CounterbenchError
from counterbench.mechanisms.base import Mechanism, Noise
from counterbench.plugins import registry
from counterbench.plugins.factory import options_of

COUNT = 6
_OF_EACH_KIND: dict[str, Variable] = {
    "continuous": Continuous("v", 0.0, 1.0),
    "binary": Binary("v"),
    "categorical": Categorical("v", ("a", "b", "c")),
    "ordinal": Ordinal("v", ("a", "b", "c")),
    "vector": Vector("v", (Continuous("x", 0.0, 1.0), Continuous("y", 0.0, 2.0))),
    "image": Image("v", 1, 16, 16),
}


@dataclass(frozen=True)
class MechanismCase:
    """A mechanism with something to model.

    Args:
        mechanism: prepared with the values below, untrained.
        value: (N, ...), encoded.
        parents: name -> (N, size), encoded.
    """

    mechanism: Mechanism
    value: Tensor
    parents: Mapping[str, Tensor]

    def abduct(self, generator: Generator = None) -> Noise:
        return self.mechanism.abduct(self.value, self.parents, generator or streams(len(self.value)))


def streams(count: int, start: int = 0, *, seed: int = 0) -> SampleNoise:
    """Chance for some samples, one stream each."""
    return SampleNoise(seed, range(start, start + count))


def check(name: str, dataset: Dataset) -> Iterator[Finding]:
    """Check the family `name` with its default options, on each variable of the dataset that it can model."""
    family = registry.mechanisms.get(name)
    yield from run(FAMILY_CHECKS, family, "the family")
    kinds = getattr(family, "kinds", ())
    fitting = [variable for variable in dataset.variables.values() if variable.kind in kinds]
    if not fitting:
        available = ", ".join(sorted({variable.kind for variable in dataset.variables.values()}))
        advice = f"it models {', '.join(kinds) or 'nothing'}, and {dataset.card.name} has only {available}; give another --dataset"
        yield Finding("models a variable", dataset.card.name, "not asked", advice)
    for variable in fitting:
        try:
            torch.manual_seed(0)
            parents = [dataset.variables[name] for name in dataset.graph.parents(variable.name)]
            case = make_case(family(variable, parents), dataset)
        except (CounterbenchError, NotImplementedError) as why:
            yield Finding("can be made", variable.name, "not asked", f"refuses this variable: {why}")
        except Exception as error:
            yield Finding("can be made", variable.name, "broken", told(error))
        else:
            yield from run(CHECKS, case, variable.name)


def check_recipe(path: Path, dataset: Dataset) -> Iterator[Finding]:
    """Check every mechanism of a recipe, with the recipe's options, untrained."""
    recipe, _ = models.find_recipe(str(path), dataset.card)
    scm = models.build_for(recipe, dataset)
    for name in dataset.graph.order:
        yield from run(CHECKS, make_case(scm.mechanisms[name], dataset), name)


def make_case(mechanism: Mechanism, dataset: Dataset) -> MechanismCase:
    """A mechanism for one variable of a dataset, with the first test samples."""
    variable, parents = mechanism.variable, mechanism.parents
    seen = dataset.split("test").take(slice(0, COUNT))
    value, context = variable.encode(seen[variable.name]), {p.name: p.encode(seen[p.name]) for p in parents}
    mechanism.prepare(value, context)
    return MechanismCase(mechanism, value, context)


# --- of the family ----------------------------------------------------------------------------------------------------


def declares_what_it_is(family: type[Mechanism]) -> None:
    """says which kinds of variable it models, whether it is invertible and whether abduction draws."""
    require(
        inspect.isclass(family) and issubclass(family, Mechanism),
        "make it a subclass of counterbench.mechanisms.base.Mechanism",
    )
    missing = [name for name in ("kinds", "invertible", "stochastic_abduction") if not hasattr(family, name)]
    require(not missing, f"add the class attributes {', '.join(missing)}")
    unknown = sorted(set(family.kinds) - set(_OF_EACH_KIND))
    require(not unknown, f"kinds names {', '.join(unknown)}; there are only {', '.join(_OF_EACH_KIND)}")


def options_have_defaults_and_words(family: type[Mechanism]) -> None:
    """every option has a default and a line in the docstring."""
    words = "\n".join(part.__doc__ or "" for part in family.__mro__)
    for option, default in options_of(family, 2).items():
        require(
            default is not inspect.Parameter.empty, f"give the option {option!r} a default: a recipe may leave it out"
        )
        require(
            re.search(rf"^\s+(\w+, )*{option}(, \w+)*:", words, re.MULTILINE),
            f"say under Args: in the class's docstring what the option {option!r} means ('{option}: ...')",
        )


def other_kinds_are_refused(family: type[Mechanism]) -> None:
    """refuses a variable of a kind that it does not model."""
    wrong = [variable for kind, variable in _OF_EACH_KIND.items() if kind not in family.kinds]
    for variable in wrong:
        try:
            family(variable, ())
        except ConfigError:
            continue
        raise BrokenError(
            f"it accepts a variable that is {variable.kind}; call super().__init__(variable, parents) first"
        )


# --- of a mechanism ---------------------------------------------------------------------------------------------------


def round_trip(case: MechanismCase) -> None:
    """generate undoes abduct, where `invertible` says so."""
    again = case.mechanism.generate(case.abduct(), case.parents)
    require(
        again.shape == case.value.shape,
        f"generate must return the shape that abduct was given, {tuple(case.value.shape)}; it returned {tuple(again.shape)}",
    )
    if case.mechanism.invertible:
        apart = float((again.double() - case.value.double()).detach().abs().max())
        require(
            apart < 2e-4, f"generate(abduct(x)) is {apart:.2g} away from x; make it exact, or set invertible = False"
        )


def observed_classes_stay(case: MechanismCase) -> None:
    """a null intervention keeps every observed class, whatever is drawn."""
    if case.mechanism.variable.kind in ("continuous", "vector", "image"):
        raise NotAskedError("a quantity, no class")
    for seed in range(50):
        again = case.mechanism.generate(case.abduct(streams(len(case.value), seed=seed)), case.parents)
        require(
            torch.equal(again, case.value),
            "generate(abduct(x)) changed a class; abduct must draw noise from its posterior given x (for example a truncated "
            "Gumbel), not from the prior",
        )


def samples_are_values(case: MechanismCase) -> None:
    """noise from the prior gives values that the variable can have."""
    drawn = case.mechanism.sample_noise(len(case.value), streams(len(case.value)))
    sampled = case.mechanism.generate(drawn, case.parents)
    require(sampled.shape == case.value.shape, f"it generates {tuple(sampled.shape)}, not {tuple(case.value.shape)}")
    case.mechanism.variable.check(case.mechanism.variable.decode(sampled).detach())


def no_sample_depends_on_its_batch(case: MechanismCase) -> None:
    """the same sample gets the same answer alone and in company."""
    mechanism = case.mechanism.eval()
    whole = mechanism.generate(case.abduct(), case.parents)
    for i in range(len(case.value)):
        row = slice(i, i + 1)
        parents = {name: value[row] for name, value in case.parents.items()}
        alone = mechanism.generate(mechanism.abduct(case.value[row], parents, streams(1, i)), parents)
        require(
            same(alone, whole[row]),
            f"sample {i} has another answer alone than among {len(case.value)}; normalise nothing over the batch (batch "
            "normalisation only in eval mode), and draw with counterbench.causal.chance from the generator that is given",
        )


def chance_is_the_generators(case: MechanismCase) -> None:
    """the same generator gives the same noise, whatever the global seed is."""
    draws, sampled = [], []
    for outer in (1, 2):
        torch.manual_seed(outer)
        draws.append(case.abduct(torch.Generator().manual_seed(5)))
        sampled.append(case.mechanism.sample_noise(len(case.value), torch.Generator().manual_seed(5)))
    require(
        all(torch.equal(sampled[0][name], sampled[1][name]) for name in sampled[0]),
        "sample_noise depends on torch's global seed; draw with counterbench.causal.chance.normal(size, generator, like)",
    )
    same_noise = all(torch.equal(draws[0][name], draws[1][name]) for name in draws[0])
    require(
        same_noise,
        "abduct depends on torch's global seed; draw with counterbench.causal.chance.normal(size, generator, like)",
    )
    if case.mechanism.stochastic_abduction:
        other = case.abduct(torch.Generator().manual_seed(6))
        require(
            any(not torch.equal(other[name], first) for name, first in draws[0].items()),
            "two generators gave the same noise, so abduct draws nothing; set stochastic_abduction = False",
        )


def loss_reaches_every_parameter(case: MechanismCase) -> None:
    """the loss is one finite number per sample, and depends on every parameter."""
    loss = case.mechanism.loss(case.value, case.parents, torch.Generator().manual_seed(0))
    require(loss.shape == (len(case.value),), f"loss returned {tuple(loss.shape)}; return one number per sample, (N,)")
    require(loss.isfinite().all(), "loss is not finite on the first test samples")
    # What is held, or moved by other means than gradients, asks for none.
    parameters = {name: one for name, one in case.mechanism.named_parameters() if one.requires_grad}
    if parameters:
        loss.sum().backward()
        untouched = [name for name, parameter in parameters.items() if parameter.grad is None]
        case.mechanism.zero_grad()
        require(not untouched, f"the loss does not depend on {', '.join(untouched)}; such parameters are never trained")


def double_precision_is_kept(case: MechanismCase) -> None:
    """double precision in, double precision out."""
    mechanism, before = case.mechanism, case.mechanism.reference.dtype
    mechanism.double()
    try:
        parents = {name: value.double() for name, value in case.parents.items()}
        noise = mechanism.abduct(case.value.double(), parents, streams(len(case.value)))
        results = {"generate": mechanism.generate(noise, parents), **mechanism.sample_noise(2)}
    finally:
        mechanism.to(before)
    for name, value in results.items():
        require(
            value.dtype == torch.float64,
            f"{name} gives {value.dtype} where the model and its input are float64; make tensors like the input, not of a fixed dtype",
        )


def survives_the_disk(case: MechanismCase) -> None:
    """saved and loaded, it answers the same."""
    before = case.mechanism.generate(case.abduct(), case.parents)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file({key: value.contiguous().clone() for key, value in case.mechanism.state_dict().items()}, path)
        kept = {key: value.clone() for key, value in case.mechanism.state_dict().items()}
        for parameter in case.mechanism.parameters():
            parameter.data.add_(1.0)
        case.mechanism.load_state_dict(load_file(path))
    after = case.mechanism.generate(case.abduct(), case.parents)
    case.mechanism.load_state_dict(kept)
    require(
        torch.equal(before, after), "something that matters is neither a parameter nor a buffer; use register_buffer"
    )


def pyro_program(case: MechanismCase) -> None:
    """its Pyro program gives values that the variable can have."""
    import pyro

    try:
        with pyro.plate("samples", len(case.value)):
            drawn = case.mechanism.pyro_sample("v", case.parents, len(case.value))
    except NotImplementedError as why:
        raise NotAskedError(f"{why} Only export to Pyro needs it.") from why
    case.mechanism.variable.check(drawn.detach())


FAMILY_CHECKS = (declares_what_it_is, options_have_defaults_and_words, other_kinds_are_refused)
CHECKS = (
    round_trip,
    observed_classes_stay,
    samples_are_values,
    no_sample_depends_on_its_batch,
    chance_is_the_generators,
    loss_reaches_every_parameter,
    double_precision_is_kept,
    survives_the_disk,
    pyro_program,
)
