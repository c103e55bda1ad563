"""Feature spaces: an image becomes a vector."""

from counterbench.features.loading import FeatureContext, load

__all__ = ["FeatureContext", "load"]
