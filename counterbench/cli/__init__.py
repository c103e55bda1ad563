"""The command line: thin. Results go to stdout, progress and messages to stderr."""

# ruff: noqa: F401 - they add their commands
from counterbench.cli import (
    components,
    data,
    discovery,
    exports,
    parts,
    privacy,
    questions,
    records,
    sweeps,
    training,
    tuning,
)
from counterbench.cli.base import main

__all__ = ["main"]
