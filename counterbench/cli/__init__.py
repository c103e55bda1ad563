"""The command line: thin. Results go to stdout, progress and messages to stderr."""

from counterbench.cli import components, data, discovery, parts, privacy, questions, records, sweeps, training, tuning  # noqa: F401 - they add their commands
from counterbench.cli.base import main

__all__ = ["main"]
