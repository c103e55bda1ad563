"""A model answers *what if*: structural causal models, baselines, and anything else that is asked."""

from counterbench.models.building import build, build_for
from counterbench.models.loading import find_recipe, foreign, load, names, start_from_init
from counterbench.models.model import Contestant, HasNoise, Model, ask, can_answer, can_draw, draw

__all__ = [
    "Contestant",
    "HasNoise",
    "Model",
    "ask",
    "build",
    "build_for",
    "can_answer",
    "can_draw",
    "draw",
    "find_recipe",
    "foreign",
    "load",
    "names",
    "start_from_init",
]
