"""Judges: measurements and predictors of attributes in images."""

from counterbench.judges.loading import JudgeContext, load
from counterbench.judges.panel import Panel, Reading, measure_all

__all__ = ["JudgeContext", "Panel", "Reading", "load", "measure_all"]
