"""A whole model in Python: here one that loads what the recipe has trained."""

import os

from counterbench import models
from counterbench.errors import ConfigError
from counterbench.plugins import registry


@registry.models.register("discs-trained")
class Trained:
    """Answers as the model in the folder $DISCS_MODEL does.

    Args:
        dataset: the loaded dataset.
    """

    def __init__(self, dataset):
        if "DISCS_MODEL" not in os.environ:
            raise ConfigError(
                "Set DISCS_MODEL to a folder made by: counterbench train --model discs/recipe.yaml --dataset discs."
            )
        self.scm = models.load(os.environ["DISCS_MODEL"], dataset).model

    def counterfactual(self, factual, interventions, generator=None):
        """Pearl's three steps, by the model in the folder."""
        return self.scm.counterfactual(factual, interventions, generator)
