"""A plan asks: the questions, as data."""

from counterbench.plans.drawing import draw
from counterbench.plans.files import load, require_format, save
from counterbench.plans.plan import Line, Plan

__all__ = ["Line", "Plan", "draw", "load", "require_format", "save"]
