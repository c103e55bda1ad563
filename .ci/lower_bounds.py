"""Prints the dependencies of setup.cfg, and what the tests need, each at its lower bound."""

import configparser
from pathlib import Path

TESTS = (
    "hypothesis",
    "jsonschema",
    "nibabel",
    "psutil",
    "pytest",
    "pytest-xdist",
    "setuptools",
    "torchmetrics",
    "wheel",
)

config = configparser.ConfigParser()
config.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
needed = config["options"]["install_requires"].split("\n")
needed += [line for line in config["options.extras_require"]["dev"].split("\n") if line.partition(">=")[0] in TESTS]
print("\n".join(line.replace(">=", "==") for line in needed if line))
