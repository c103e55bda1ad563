"""counterbench: the instrument for judging counterfactual image generation."""

from __future__ import annotations

from typing import Any

__version__ = "0.2.0"

_LAZY = {
    **dict.fromkeys(("evaluate", "load_dataset", "load_model", "numbers_of"), "counterbench.api"),
    "ImageOnly": "counterbench.models.image_only",
}

__all__ = ["ImageOnly", "__version__", "evaluate", "load_dataset", "load_model", "numbers_of", "registry"]


def __getattr__(name: str) -> Any:
    """Import on first use: `import counterbench` alone stays instant."""
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    if name == "registry":  # the door for plug-ins
        import importlib

        return importlib.import_module("counterbench.plugins.registry")
    raise AttributeError(f"module 'counterbench' has no attribute {name!r}")
