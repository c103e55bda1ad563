"""Optional parts of this package: which other packages each needs, and how to get them."""

from __future__ import annotations

from importlib.util import find_spec

from counterbench.errors import UnavailableError

EXTRAS: dict[str, tuple[str, ...]] = {
    "diffusers": ("diffusers", "transformers"),
    "discovery": ("causallearn", "castle"),
    "dowhy": ("dowhy",),
    "monai": ("monai", "einops"),
    "peft": ("peft",),
    "tune": ("optuna",),
}
"""Extra -> packages that components of it import when they are made."""


def missing_packages(extra: str) -> tuple[str, ...]:
    """Those of an extra's packages that are not installed; nothing is imported."""
    return tuple(package for package in EXTRAS[extra] if find_spec(package) is None)


def install_line(extra: str) -> str:
    """The command that installs an extra.

    Examples:
        >>> install_line("monai")
        "pip install 'counterbench[monai]'"
    """
    return f"pip install 'counterbench[{extra}]'"


def require_extra(extra: str, what: str) -> None:
    """Raise UnavailableError unless all packages of an extra are installed.

    Args:
        extra: one of :data:`EXTRAS`.
        what: needs it, for the message; e.g. "The mechanism 'monai_diffusion'".
    """
    if missing := missing_packages(extra):
        raise UnavailableError(
            f"{what} needs the Python package{'s' * (len(missing) > 1)} {' and '.join(missing)}: {install_line(extra)}"
        )
