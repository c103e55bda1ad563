"""Models of `dowhy.gcm` as models of this package, and causal models of this package as dowhy's (extra `dowhy`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from counterbench.causal.chance import Generator
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Continuous
from counterbench.datasets.dataset import Dataset
from counterbench.discovery.libraries import contained
from counterbench.errors import ConfigError
from counterbench.models.model import Values
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins.extras import require_extra


def to_gcm(scm: StructuralCausalModel) -> Any:
    """A fitted model of this package as dowhy's `InvertibleStructuralCausalModel`, for its counterfactuals, attributions and tests.

    Only quantities go over, with the arrows among them; an image and classes are left out where nothing that stays is caused by them.

    Args:
        scm: whose mechanisms of quantities are invertible, such as `spline_flow`.

    Returns:
        dowhy's model; nothing has to be fitted.

    Raises:
        UnavailableError: without dowhy. ConfigError: for a mechanism that dowhy cannot hold.
    """
    require_extra("dowhy", "to_gcm")
    import networkx

    with contained():
        from dowhy import gcm
        from dowhy.graph import get_ordered_predecessors

        from counterbench.exchange.gcm_mechanisms import OfMechanism, OfRoot
    kept = [name for name, mechanism in scm.mechanisms.items() if isinstance(mechanism.variable, Continuous)]
    for name in kept:
        if others := [parent for parent in scm.graph.parents(name) if parent not in kept]:
            raise ConfigError(
                f"{name} is caused by {others[0]}, which is no quantity; dowhy's model would not know it."
            )
    graph = networkx.DiGraph()
    graph.add_nodes_from(kept)
    graph.add_edges_from((parent, name) for name in kept for parent in scm.graph.parents(name))
    model = gcm.InvertibleStructuralCausalModel(graph)
    for name in kept:
        mechanism = scm.mechanisms[name]
        root = not scm.graph.parents(name)
        order = get_ordered_predecessors(graph, name)
        model.set_causal_mechanism(name, OfRoot(mechanism) if root else OfMechanism(mechanism, order))
        # What dowhy's own `fit` notes, and what it asks for before it answers.
        graph.nodes[name][gcm.fitting_sampling.PARENTS_DURING_FIT] = order
    return model


class GCMModel:
    """A fitted `dowhy.gcm` model as a model of this package: `evaluate` takes it as it takes any other.

    dowhy infers the noise of every sample, the set values are held, and its mechanisms say what follows, sample by sample.

    Args:
        causal_model: a fitted `InvertibleStructuralCausalModel` over the dataset's variables.
        dataset: of quantities alone.

    Raises:
        UnavailableError: without dowhy. ConfigError: for a dataset with images or classes, a model over other variables, or one that
            cannot infer noise.
    """

    def __init__(self, causal_model: Any, dataset: Dataset):
        require_extra("dowhy", "GCMModel")
        with contained():
            from dowhy import gcm
        if not isinstance(causal_model, gcm.InvertibleStructuralCausalModel):
            raise ConfigError(
                f"A {type(causal_model).__name__} cannot infer noise, so it has no counterfactuals; give an InvertibleStructuralCausalModel."
            )
        others = [name for name, variable in dataset.variables.items() if not isinstance(variable, Continuous)]
        if others:
            raise ConfigError(
                f"{dataset.card.name} has {others[0]}, which is no quantity; dowhy's invertible models know none."
            )
        if set(causal_model.graph.nodes) != set(dataset.variables):
            raise ConfigError(
                f"The model is over {', '.join(map(str, causal_model.graph.nodes))}, {dataset.card.name} over {', '.join(dataset.variables)}."
            )
        self.causal_model, self.names = causal_model, tuple(dataset.variables)

    def counterfactual(self, factual: Samples, interventions: Values, generator: Generator = None) -> dict[str, Tensor]:
        """Natural values of every variable, (N,) each; see :meth:`counterbench.models.scm.StructuralCausalModel.counterfactual`."""
        import networkx
        import pandas
        from dowhy.gcm._noise import compute_noise_from_data
        from dowhy.graph import get_ordered_predecessors

        observed = pandas.DataFrame({name: factual[name].double().cpu().numpy() for name in self.names})
        noise = compute_noise_from_data(self.causal_model, observed)
        held = {name: value.double().cpu().numpy() for name, value in interventions.items()}
        for name in networkx.topological_sort(self.causal_model.graph):
            if name in held:
                continue
            before = get_ordered_predecessors(self.causal_model.graph, name)
            if not before:  # dowhy takes the value of a root for its noise
                held[name] = noise[name].to_numpy()
                continue
            parents = pandas.DataFrame({parent: held[parent] for parent in before}).to_numpy()
            mechanism = self.causal_model.causal_mechanism(name)
            held[name] = mechanism.evaluate(parents, noise[name].to_numpy()).reshape(-1)
        answer = {name: torch.from_numpy(held[name].copy()).float() for name in self.names}
        return answer | {name: value.clone() for name, value in interventions.items()}
