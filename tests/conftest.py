"""Shared fixtures."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

os.environ.setdefault("COLUMNS", "130")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the workers share the cores
settings.register_profile("repo", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("repo")

import toy as toy_module  # noqa: E402

collect_ignore = ["toy.py", "asked.py"]  # a plug-in, imported once under its own name


@pytest.fixture(scope="session")
def toy():
    """The toy process as a module."""
    return toy_module


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def morphomnist():
    """The default dataset (its test split is rendered once per machine and cached)."""
    from counterbench import datasets

    return datasets.load("morphomnist")


def has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
