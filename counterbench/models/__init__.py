"""A model answers *what if*: structural causal models, baselines, and anything else that is asked."""

from counterbench.models.loading import build, find_recipe, foreign, load, names
from counterbench.models.model import Contestant, Model, ask, can_answer, has_noise

__all__ = ["Contestant", "Model", "ask", "build", "can_answer", "find_recipe", "foreign", "has_noise", "load", "names"]
