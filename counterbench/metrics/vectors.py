"""Real images as vectors: computed once, for they are the same for every model."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from counterbench.datasets.split import Split
from counterbench.features.base import FeatureSpace
from counterbench.runtime.blocks import at_once, block_of
from counterbench.runtime.progress import bar
from counterbench.storage.files import cache_folder
from counterbench.storage.tensors import read_tensors, write_tensors

_BLOCK = 500


def vectors_of(split: Split, image: str, space: FeatureSpace) -> Tensor:
    """The vectors of the images of a split, (N, D); kept in the cache.

    Args:
        split: whose images.
        image: name of the image variable.
        space: that makes vectors.

    Examples:
        >>> from counterbench.features.pixel import Pixel
        >>> tuple(vectors_of(Split("all", {"image": torch.zeros(3, 1, 2, 2)}, torch.arange(3)), "image", Pixel()).shape)
        (3, 4)
    """
    images, parts = split.values[image], []
    size = images[0].numel()
    key = hashlib.sha256(f"{split.fingerprint} {space.fingerprint} {block_of(size)}".encode()).hexdigest()[:24]
    path = cache_folder() / "features" / f"{key}.safetensors"
    stored = read_tensors(path)
    if stored is not None:
        return stored[0]["features"]
    with bar(len(split), f"Real images as {space.title}") as advance:
        for block in images.split(at_once(size, _BLOCK)):
            parts.append(space.extract(block))
            advance(len(block))
    found = torch.cat(parts)
    write_tensors(path, {"features": found}, optional=True)
    return found
