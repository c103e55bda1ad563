"""An image as what its parents say on average, and everything else."""

from torch import nn

from counterbench.causal.chance import normal
from counterbench.mechanisms.base import Mechanism
from counterbench.plugins import registry


@registry.mechanisms.register("shift")
class Shift(Mechanism):
    """x = m(parents) + s e: a network gives the mean image, e is what is left, kept as it is.

    Args:
        variable, parents: given by the recipe's dataset.
        hidden: width of the network.
        scale: s, of the encoded pixels (-1 to 1).
    """

    kinds = ("image",)
    invertible = True
    stochastic_abduction = False

    def __init__(self, variable, parents, hidden: int = 64, scale: float = 0.1):
        super().__init__(variable, parents)
        self.scale = scale
        width = self.context_size + 1
        self.mean = nn.Sequential(
            nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, variable.size)
        )

    def _mean(self, parents, like):
        context = nn.functional.pad(self.context(parents, like.flatten(1)), (0, 1), value=1.0)
        return self.mean(context).view_as(like)

    def abduct(self, value, parents, generator=None):
        return {"e": (value - self._mean(parents, value)) / self.scale}

    def generate(self, noise, parents, intervened=frozenset()):
        return (self._mean(parents, noise["e"]) + self.scale * noise["e"]).clamp(-1, 1)

    def sample_noise(self, count, generator=None):
        return {"e": normal((count, *self.variable.shape), generator, self.reference)}

    def loss(self, value, parents, generator=None):
        return 0.5 * self.abduct(value, parents)["e"].square().flatten(1).sum(1)
