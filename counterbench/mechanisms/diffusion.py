"""Diffusion: paths of the cosine schedule from noise to data, for images, volumes and quantities."""

from __future__ import annotations

from counterbench.mechanisms.unet_ode import UNetODE
from counterbench.networks.paths import Cosine
from counterbench.plugins.registry import mechanisms


@mechanisms.register()
class Diffusion(UNetODE):
    """x = the end of the probability flow of a diffusion model, which starts at standard normal noise u.

    Denoising diffusion with the cosine schedule (Nichol & Dhariwal, ICML 2021), whose network predicts the velocity (v of Salimans & Ho, ICLR
    2022, but for sign and scale) or the noise, as a mechanism (Sanchez & Tsaftaris, CLeaR 2022; Rasal et al., ICML 2025). The Euler solver is
    DDIM up to second order in the step (Song et al., ICLR 2021), and its abduction is DDIM inversion; the default solver's round trip is exact.
    Train it with the objective `matching`. Its options are those of :class:`counterbench.mechanisms.unet_ode.UNetODE`.

    Examples:
        >>> import torch
        >>> from counterbench.causal.variables import Image
        >>> model = Diffusion(Image("image", 1, 8, 8), [], width=8, channels=[8, 8], heads=2, attention=[1], semantic=3)
        >>> noise = model.abduct(torch.rand(2, 1, 8, 8), {}, torch.Generator().manual_seed(0))
        >>> sorted(noise)
        ['correction', 'semantic', 'u']
    """

    path = Cosine()
