"""Flow matching: straight paths from noise to data, for images, volumes and quantities."""

from __future__ import annotations

from counterbench.mechanisms.unet_ode import UNetODE
from counterbench.networks.paths import Linear
from counterbench.plugins.registry import mechanisms


@mechanisms.register()
class FlowMatching(UNetODE):
    """x = the end of dx/dt = v(x, t, parents), which starts at standard normal noise u; v is regressed on straight lines.

    Conditional flow matching (Lipman et al., ICLR 2023; Liu et al., ICLR 2023). With the default solver the round trip is exact at any number
    of steps. Train it with the objective `matching`. Its options are those of
    :class:`counterbench.mechanisms.unet_ode.UNetODE`.

    Examples:
        >>> import torch
        >>> from counterbench.causal.variables import Binary, Image
        >>> flow = FlowMatching(Image("image", 1, 8, 8), [Binary("smile")], width=8, channels=[8, 8], heads=2, attention=[1])
        >>> value, parents = torch.rand(2, 1, 8, 8), {"smile": torch.ones(2, 1)}
        >>> noise = flow.abduct(value, parents)
        >>> sorted(noise), bool(torch.allclose(flow.generate(noise, parents), value, atol=1e-5))
        (['correction', 'u'], True)
    """

    path = Linear()
