"""Structural causal models: a graph, and one mechanism per variable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from counterbench.causal.chance import Generator
from counterbench.causal.graph import CausalGraph
from counterbench.causal.variables import Variable
from counterbench.errors import GraphError, suggestion
from counterbench.mechanisms.base import Mechanism, Noise, reference_of
from counterbench.mechanisms.capabilities import PredictsNoise

Values = Mapping[str, Tensor]
"""Natural values by variable name; see :mod:`counterbench.causal.variables`."""


class _Mechanisms(nn.ModuleDict):
    """Mechanisms by variable, whatever it is called: a variable `type` or `values` is a key here, and no attribute."""

    def __setitem__(self, key: str, module: nn.Module) -> None:
        self._modules[key] = module


class StructuralCausalModel(nn.Module):
    """Answers *what if* by abduction, action and prediction (Pearl, *Causality*, 2009, theorem 7.1.7).

    Args:
        graph: who listens to whom.
        mechanisms: one per variable of the graph; each knows its variable and its parents.

    Raises:
        GraphError: if the mechanisms do not fit the graph.
    """

    def __init__(self, graph: CausalGraph, mechanisms: Iterable[Mechanism]):
        super().__init__()
        given = {mechanism.variable.name: mechanism for mechanism in mechanisms}
        for name in graph:
            if name not in given:
                raise GraphError(f"The variable {name!r} has no mechanism; every variable of the graph needs one.")
            declared = tuple(parent.name for parent in given[name].parents)
            if declared != graph.parents(name):
                raise GraphError(
                    f"The mechanism of {name!r} expects the parents {declared}, the graph says {graph.parents(name)}."
                )
        if extra := [name for name in given if name not in graph]:
            raise GraphError(
                f"There is a mechanism for {extra[0]!r}, which is not in the graph.{suggestion(extra[0], graph)}"
            )
        self.graph = graph
        self.mechanisms: Mapping[str, Mechanism] = _Mechanisms({name: given[name] for name in graph.order})  # type: ignore[assignment]
        self.variables: dict[str, Variable] = {name: given[name].variable for name in graph.order}
        # Known before anybody asks: a model is the same after a question as before.
        self._below = {name: graph.descendants(name) for name in graph.order}

    @property
    def reference(self) -> Tensor:
        """A tensor with this model's device and dtype."""
        return reference_of(self)

    def _encode(self, values: Values) -> dict[str, Tensor]:
        like = self.reference
        # Encode before moving: it is done in double precision, which some devices lack.
        return {name: self.variables[name].encode(value, like.dtype).to(like.device) for name, value in values.items()}

    def _parents(self, name: str, encoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {parent: encoded[parent] for parent in self.graph.parents(name)}

    def _check(self, values: Values, complete: bool) -> None:
        for name, value in values.items():
            if name not in self.variables:
                raise GraphError(f"Unknown variable {name!r}.{suggestion(name, self.variables)}")
            self.variables[name].check(value)
        if complete and (missing := [name for name in self.variables if name not in values]):
            raise GraphError(f"Abduction needs a value for every variable; missing: {', '.join(missing)}.")

    def abduct(self, values: Values, generator: Generator = None) -> dict[str, Noise]:
        """Step 1: the exogenous noise behind complete observations.

        Args:
            values: natural values of every variable, batched along the first axis.
            generator: chance, for mechanisms whose abduction draws from a posterior.

        Raises:
            GraphError: for a missing or unknown variable. DataError: for values of the wrong shape, or not finite.
        """
        self._check(values, complete=True)
        return self.abduct_encoded(self._encode(values), generator)

    def abduct_encoded(self, encoded: Mapping[str, Tensor], generator: Generator = None) -> dict[str, Noise]:
        """Step 1 on encoded values, (N, ...) each, of some variables and all their ancestors: the noise behind these."""
        return {
            name: mechanism.abduct(encoded[name], self._parents(name, encoded), generator)
            for name, mechanism in self.mechanisms.items()
            if name in encoded
        }

    def generate(self, noise: Mapping[str, Noise], interventions: Values | None = None) -> dict[str, Tensor]:
        """Steps 2 and 3: hold the intervened variables, let every other one follow from its noise and its parents.

        Returns:
            Natural values of every variable; intervened ones exactly as given.
        """
        interventions = interventions or {}
        self._check(interventions, complete=False)
        encoded = self.predict_encoded(noise, self._encode(interventions))
        return {
            name: interventions[name].to(self.reference.device)
            if name in interventions
            else variable.decode(encoded[name])
            for name, variable in self.variables.items()
        }

    def predict_encoded(
        self,
        noise: Mapping[str, Noise],
        held: Mapping[str, Tensor],
        *,
        where: Mapping[str, Tensor] | None = None,
        factual: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Steps 2 and 3 on encoded values, of the variables that `noise` or `held` names and, among them, all their ancestors.

        Args:
            noise: by variable, of N samples.
            held: by intervened variable, the values that it is set to, (N, ...).
            where: by intervened variable, the samples in which it is set, (N,), boolean; in the others it follows from its noise.
                Left out: all of them.
            factual: the values that the noise was abducted from, (N, ...) each. Where they are given, a variable whose parents stay
                keeps its very value; else nothing is copied, and every value is generated from its noise.
        """
        where = where or {}
        everywhere = frozenset(name for name in held if name not in where)
        reached = everywhere.union(*(self._below[name] for name in everywhere))
        encoded: dict[str, Tensor] = {}
        for name, mechanism in self.mechanisms.items():
            if name in everywhere:
                encoded[name] = held[name]
                continue
            if name not in noise:
                continue
            parents = self._parents(name, encoded)
            value = mechanism.generate(noise[name], parents, reached)
            if factual is not None:
                value = _by_sample(_differ(parents, factual, value), value, factual[name])
            encoded[name] = _by_sample(where[name], held[name], value) if name in held else value
        return encoded

    def counterfactual(self, factual: Values, interventions: Values, generator: Generator = None) -> dict[str, Tensor]:
        """What would these samples be, had the intervened variables had these values?

        Args:
            factual: natural values of every variable, (N, ...).
            interventions: natural values of some variables, (N, ...) each; empty for the null intervention.
            generator: chance.

        Returns:
            Natural values of every variable, (N, ...).
        """
        # Nothing is copied from the factual, not even where no arrow leads: a null intervention must earn its result.
        return self.generate(self.abduct(factual, generator), interventions)

    def sample_noise(self, count: int, generator: Generator = None) -> dict[str, Noise]:
        """Draw the exogenous noise of `count` new samples."""
        return {name: mechanism.sample_noise(count, generator) for name, mechanism in self.mechanisms.items()}

    def sample(self, count: int, interventions: Values | None = None, generator: Generator = None) -> dict[str, Tensor]:
        """Draw `count` samples of the observational distribution or, with interventions, of the interventional one."""
        return self.generate(self.sample_noise(count, generator), interventions)

    def draw(self, attributes: Values, generator: Generator = None) -> dict[str, Tensor]:
        """New samples with these values of some variables, one for each of their rows: noise is drawn, and what is given is held.

        Where everything is given but the image, this is a draw of the image given its attributes.

        Args:
            attributes: natural values of some variables, (N, ...) each.
            generator: chance.
        """
        return self.sample(len(next(iter(attributes.values()))), dict(attributes), generator)

    def noise_norm(self, name: str, values: Values, generator: Generator = None) -> Tensor:
        """How much the parents of a variable move the noise that its mechanism takes to be in it, (N,), on the CPU.

        Args:
            name: of a variable whose mechanism predicts noise (:class:`counterbench.mechanisms.capabilities.PredictsNoise`).
            values: natural values of the variable and its parents, (N, ...) each.
            generator: chance.
        """
        encoded, mechanism = self._encode(values), self.mechanisms[name]
        assert isinstance(mechanism, PredictsNoise)
        return mechanism.noise_norm(encoded[name], self._parents(name, encoded), generator).cpu()

    def loss(self, values: Values, generator: Generator = None) -> dict[str, Tensor]:
        """Per-sample loss of every mechanism, (N,) each."""
        encoded = self._encode(values)
        return {
            name: mechanism.loss(encoded[name], self._parents(name, encoded), generator)
            for name, mechanism in self.mechanisms.items()
        }

    def pyro_program(self) -> Callable[[int], dict[str, Tensor]]:
        """This model as a Pyro program, for `pyro.condition`, `pyro.poutine.do` and Pyro's inference.

        The program takes a number of samples, declares one site per variable, named after it and in natural units, inside
        the plate `samples`, and returns the values.
        """
        import pyro

        def program(count: int = 1) -> dict[str, Tensor]:
            values: dict[str, Tensor] = {}
            encoded: dict[str, Tensor] = {}
            with pyro.plate("samples", count):
                for name, mechanism in self.mechanisms.items():
                    values[name] = mechanism.pyro_sample(name, self._parents(name, encoded), count)
                    encoded[name] = self.variables[name].encode(values[name], self.reference.dtype)
            return values

        return program


def _differ(values: Mapping[str, Tensor], others: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """In which samples any of these values is another one, (N,)."""
    changed = torch.zeros(len(like), dtype=torch.bool, device=like.device)
    for name, value in values.items():
        changed |= (value != others[name]).flatten(1).any(1)
    return changed


def _by_sample(mask: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The first value of the samples in the mask, (N,), the second one of the others; values are (N, ...)."""
    return torch.where(mask.view(-1, *(1 for _ in first.shape[1:])), first, second)
