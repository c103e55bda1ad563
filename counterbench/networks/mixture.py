"""A Gaussian mixture over latents that follow an order: its density, its curvature, and the causal model that it makes of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FLOOR = 1e-4
"""Smallest variance that counts, so that one latent without any curvature does not decide everything."""
_SPREAD = 1.0
"""Standard deviation of the means at the start."""


class OrderedMixture(nn.Module):
    """p(z) = sum_k w_k N(z; mu_k, diag(s_k^2)): latents z_1, z_2, ..., of which each follows from those before it.

    In an additive-noise model the curvature of the log density along a leaf is the same everywhere, and along nothing else (Rolland et al.
    2022, lemma 1). The order term asks that of z_i among z_1..z_i, for every i (Kori et al. 2023). A diagonal mixture has all of it in closed
    form, for its margins are mixtures too.

    Args:
        latent: how many latents.
        components: how many normal distributions.
        seed: of their means at the start.

    Examples:
        >>> mixture = OrderedMixture(3, components=4)
        >>> z = torch.randn(10, 3)
        >>> tuple(mixture.log_prob(z).shape), tuple(mixture.curvature(z).shape), float(mixture.order_loss(z).detach()) >= 0
        ((10,), (10, 3), True)
    """

    def __init__(self, latent: int, *, components: int = 10, seed: int = 0):
        super().__init__()
        if latent < 2 or components < 1:
            raise ValueError(
                f"{latent} latents and {components} components; give two latents and one component at least"
            )
        self.latent = latent
        drawn = torch.randn(components, latent, generator=torch.Generator().manual_seed(seed))
        self.means = nn.Parameter(_SPREAD * drawn)
        self.log_scales = nn.Parameter(torch.zeros(components, latent))
        self.logits = nn.Parameter(torch.zeros(components))

    def _joint(self, latents: Tensor) -> Tensor:
        """log w_k N(z; mu_k, s_k) of the first latents, as many as are given, (N, K)."""
        count = latents.shape[1]
        apart = (latents[:, None] - self.means[:, :count]) * (-self.log_scales[:, :count]).exp()
        density = -0.5 * apart**2 - self.log_scales[:, :count] - 0.5 * math.log(2 * math.pi)
        return self.logits.log_softmax(0) + density.sum(2)

    def log_prob(self, latents: Tensor) -> Tensor:
        """log p(z_1..z_i), (N,), of (N, i) latents, the first ones."""
        return self._joint(latents).logsumexp(1)

    def curvature(self, latents: Tensor) -> Tensor:
        """d^2 log p(z_1..z_i) / d z_j^2, (N, i), of (N, i) latents, the first ones."""
        count = latents.shape[1]
        share = self._joint(latents).softmax(1)[:, :, None]
        precision = (-2 * self.log_scales[:, :count]).exp()
        pull = (latents[:, None] - self.means[:, :count]) * precision
        bent: Tensor = (share * (pull**2 - precision)).sum(1) - (share * pull).sum(1) ** 2
        return bent

    def variances(self, latents: Tensor) -> list[Tensor]:
        """For every i, how much the curvature of p(z_1..z_i) along z_1, ..., z_i varies over the samples: d tensors, (i,) each."""
        return [self.curvature(latents[:, : i + 1]).var(0, unbiased=False) for i in range(self.latent)]

    def order_loss(self, latents: Tensor) -> Tensor:
        """-sum_i log(v_ii^-1 / sum_{j<=i} v_ij^-1), v the variances of :meth:`variances`: 0 where every latent is a leaf of those up to it."""
        shares = [-(varied + FLOOR).log() for varied in self.variances(latents)]
        return -torch.stack([share.log_softmax(0)[-1] for share in shares]).sum()

    def leaf_share(self, latents: Tensor) -> float:
        """Share of the last latent in the variances of the curvature along all of them: 0 for a leaf."""
        varied = self.variances(latents)[-1].detach()
        return float(varied[-1] / varied.sum().clamp(min=torch.finfo(varied.dtype).tiny))

    def expected(self, latents: Tensor, i: int) -> Tensor:
        """E[z_i | z_1..z_{i-1}], (N,): what latent number i (from 0) follows from.

        Args:
            latents: (N, d) or more of it; those before i are read.
            i: which one.
        """
        share = self._joint(latents[:, :i]).softmax(1)
        found: Tensor = share @ self.means[:, i]
        return found

    def intervened(self, latents: Tensor, held: dict[int, Tensor]) -> Tensor:
        """The latents had some of them been set: later ones keep their noise z_i - E[z_i | those before] (an additive-noise model).

        Args:
            latents: (N, d), as they are.
            held: number of a latent, from 0 -> its value, (N,).

        Returns:
            (N, d).

        Examples:
            >>> mixture, z = OrderedMixture(3), torch.randn(4, 3)
            >>> same, moved = mixture.intervened(z, {1: z[:, 1]}), mixture.intervened(z, {1: z[:, 1] + 1})
            >>> bool(torch.allclose(same, z, atol=1e-6)), bool((moved[:, 0] == z[:, 0]).all()), bool((moved[:, 2] != z[:, 2]).all())
            (True, True, True)
        """
        if strange := [number for number in held if not 0 <= number < self.latent]:
            raise ValueError(f"there is no latent {strange[0]}; they are numbered from 0 to {self.latent - 1}")
        columns: list[Tensor] = []
        for i in range(self.latent):
            if i in held:
                columns.append(held[i].to(latents))
            elif not any(number < i for number in held):
                columns.append(latents[:, i])
            else:
                before = torch.stack(columns, 1)
                columns.append(latents[:, i] - self.expected(latents, i) + self.expected(before, i))
        return torch.stack(columns, 1)

    def drawn(self, chance: Tensor, noise: Tensor) -> Tensor:
        """Latents from chance.

        Args:
            chance: (N,), uniform on (0, 1): which component.
            noise: (N, latent), standard normal.

        Returns:
            (N, latent).
        """
        edges = self.logits.detach().softmax(0).cumsum(0)[:-1].cpu().double()
        component = torch.searchsorted(edges, chance.cpu().double()).to(self.means.device)
        return self.means[component] + self.log_scales[component].exp() * noise
