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


@pytest.fixture(scope="module")
def cache_of_module(tmp_path_factory):
    """A cache that no other module fills."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def unshaken(cache_of_module):
    """The toy's patterns are read off exactly: here a perturbed answer is the answer itself, and baselines have a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("counterbench.metrics.perturbation.LEVELS", 0.0)
        patch.setattr("counterbench.metrics.perturbation.PIXELS", 0.0)
        yield


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def morphomnist():
    """The default dataset (its test split is rendered once per machine and cached)."""
    from counterbench import datasets

    return datasets.load("morphomnist")


CARD = """
name: squares
title: Squares
description: squares of different sizes
reader: table
variables:
  size: {kind: continuous, range: [0, 12]}
  image: {kind: image, shape: [1, 16, 16], parents: [size], intervenable: false}
default_source: mine
sources: {mine: {embedded: false, description: squares, licence: none, table: {csv: t.csv, images: pictures}}}
"""


@pytest.fixture
def card(tmp_path):
    """A dataset of 200 pictures beside its card."""
    import numpy as np
    import PIL.Image

    home = tmp_path / "squares"
    (home / "pictures").mkdir(parents=True)
    sizes = np.random.default_rng(0).uniform(1, 12, 200)
    for number, size in enumerate(sizes):
        picture = np.zeros((16, 16), np.uint8)
        picture[: int(size), : int(size)] = 200
        picture[-1, -1] = number
        PIL.Image.fromarray(picture).save(home / "pictures" / f"{number}.png")
    lines = [f"{number}.png,{size:.3f}" for number, size in enumerate(sizes)]
    (home / "t.csv").write_text("\n".join(["file,size", *lines]) + "\n")
    (home / "card.yaml").write_text(CARD)
    return home / "card.yaml"


def has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
