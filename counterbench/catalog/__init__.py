"""The catalogue: what is declared in YAML, and where it lies."""

from __future__ import annotations

from pathlib import Path

from counterbench.errors import ConfigError


def section(name: str) -> Path:
    """The folder of declarations `name`: models, datasets or benchmarks.

    They lie inside an installed wheel, or else at the root of a checkout.
    """
    inside = Path(__file__).parent / name
    at_root = Path(__file__).parents[2] / name
    for folder in (inside, at_root):
        if folder.is_dir():
            return folder
    raise ConfigError(
        f"This installation has no folder {name!r} (looked at {inside} and {at_root}); reinstall counterbench."
    )


def declarations(folder: Path, pattern: str = "*.yaml") -> list[Path]:
    """The declarations in a folder; a file whose name begins with an underscore is only a part of others."""
    return [path for path in sorted(folder.glob(pattern)) if not path.name.startswith("_")]
