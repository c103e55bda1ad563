"""What attributes should be under an intervention: the truth as far as it is known, else a reference SCM, else the factual values."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from counterbench.causal.chance import SampleNoise
from counterbench.datasets.dataset import Dataset
from counterbench.models.scm import StructuralCausalModel


class Targets:
    """The values that attributes should have under an intervention, by nobody's claim.

    Of what is set, the value set; of its descendants, the true value where it is known, else that of the reference SCM; of everything
    else, and where there is neither, the factual value.

    Args:
        dataset: whose attributes.
        reference: a fitted causal model of the attributes alone; None where there is none.
        split: where the samples lie.
    """

    def __init__(self, dataset: Dataset, reference: StructuralCausalModel | None = None, *, split: str = "test"):
        self.dataset, self.reference, self.split = dataset, reference, split

    def known(self, index: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is set and what follows from it, as far as truth or reference know it.

        Args:
            index: (N,), rows of the split.
            interventions: natural values, (N,) each.

        Returns:
            Natural values, (N,) each; the attributes that are left out should be as they were.
        """
        known = self._true(index, interventions)
        assumed = self._below(interventions) - known.keys()
        if self.reference is None or not assumed:
            return known
        predicted = self._predicted(self.reference, index, known)
        return known | {name: predicted[name] for name in self.dataset.card.attributes if name in assumed}

    def assumed(self, *intervened: str) -> tuple[str, ...]:
        """Descendants of what is set whose true value nobody knows."""
        row = torch.zeros(1, dtype=torch.long)
        known = self._true(row, {name: self.dataset.attributes(self.split)[name][row] for name in intervened})
        below = self._below(set(intervened)) - known.keys()
        return tuple(name for name in self.dataset.card.attributes if name in below)

    def _below(self, intervened: Mapping[str, Tensor] | set[str]) -> set[str]:
        descendants = {name for cause in intervened for name in self.dataset.graph.descendants(cause)}
        return descendants - set(intervened) - {self.dataset.card.image}

    def _true(self, index: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values set, and the true ones of their descendants."""
        below = self._below(interventions)
        true = self.dataset.true_attributes(self.split, index, interventions)
        return {**interventions, **{name: value for name, value in true.items() if name in below}}

    def _predicted(
        self, reference: StructuralCausalModel, index: Tensor, held: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Abduction, action, prediction: every row has one stream of chance, whatever is asked about it."""
        factual = {name: value[index] for name, value in self.dataset.attributes(self.split).items()}
        variables = self.dataset.variables
        streams = SampleNoise(0, [f"targets/{self.split}/{row}" for row in index.tolist()])
        with torch.no_grad():
            encoded, set_to = ({n: variables[n].encode(v) for n, v in values.items()} for values in (factual, held))
            noise = reference.abduct_encoded(encoded, streams)
            predicted = reference.predict_encoded(noise, set_to, factual=encoded)
        natural = {name: variables[name].decode(value).to(factual[name].dtype) for name, value in predicted.items()}
        stayed = {name: value.eq(encoded[name]).flatten(1).all(1) for name, value in predicted.items()}
        return {name: torch.where(stayed[name], factual[name], value) for name, value in natural.items()}
