"""Segmenters: which part of an image every pixel shows."""

from counterbench.segmenters.base import Segmenter
from counterbench.segmenters.loading import load

__all__ = ["Segmenter", "load"]
