"""Metrics: they judge answers and do not know the contestants. `Effectiveness.on(variables, graph, judges=...)` takes tensors."""

from __future__ import annotations

from typing import Any

_MODULES = {
    "Commutativity": "commutativity",
    "Composition": "composition",
    "DoseResponse": "dose_response",
    "Effectiveness": "effectiveness",
    "Minimality": "minimality",
    "MultiScaleSimilarity": "ms_ssim",
    "OffTarget": "off_target",
    "OnTensors": "on_tensors",
    "PercentageError": "percentage_error",
    "Realism": "realism",
    "Reversibility": "reversibility",
    "Truth": "truth",
}
"""What works on tensors -> where it is; everything else needs a dataset, or a model at work."""

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Import on first use: the parts of a metric need not import all metrics."""
    if name not in _MODULES:
        raise AttributeError(f"module 'counterbench.metrics' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"counterbench.metrics.{_MODULES[name]}"), name)
