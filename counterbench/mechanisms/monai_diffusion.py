"""Diffusion with MONAI's network: paths of the cosine schedule from noise to images or volumes."""

from __future__ import annotations

from collections.abc import Sequence

from counterbench.causal.variables import Image, Variable
from counterbench.mechanisms.generative_ode import GenerativeODE
from counterbench.networks.field import FieldNetwork
from counterbench.networks.monai_networks import MonaiField
from counterbench.networks.paths import Cosine
from counterbench.plugins.registry import mechanisms


@mechanisms.register(extra="monai")
class MonaiDiffusion(GenerativeODE):
    """x = the end of the probability flow of a diffusion model whose network is MONAI's DiffusionModelUNet.

    Path, solvers, exact round trip and guidance are those of `diffusion`; the parents are tokens at which the network looks by cross-attention.
    Pinaya et al. 2023 (MONAI Generative Models, arXiv 2307.15208). Train it with the objective `matching`.

    Args:
        channels: of the levels, fine to coarse, multiples of norm_num_groups; every level halves the sides.
        num_res_blocks: residual blocks per level.
        attention_levels: for each level, whether its positions look at the tokens (and at each other); the middle always does.
        num_head_channels: channels of one head of attention.
        norm_num_groups: groups of the group norms.
        norm_eps: what keeps those from dividing by zero.
        resblock_updown: whether residual blocks change the resolution instead of convolutions.
        transformer_num_layers: layers of each transformer.
        dropout_cattn: dropout in its attention, while training.
        use_flash_attention: whether attention is computed by torch's fused kernel, which keeps no maps to look at.
        width: of a token (MONAI's cross_attention_dim).
        dropout: share of training samples for which a condition is kept back, and of those for which all are; guidance needs it.
        smoothing: standard deviation of the noise that is added to the data in training, on the scale [-1, 1].
        predicts: what the network says: `velocity`, or `noise`.
        solver: midpoint, heun or euler; leapfrog or reversible-heun, whose steps can be undone.
        steps: of the solver, each way.
        exact: whether the noise keeps what the solver misses, so that a null intervention returns its input.
        guidance: weight of what an intervention reaches; 1 for none.
        guidance_rest: weight of the other parents.

    Raises:
        UnavailableError: without the extra `monai`. ConfigError: for options or sides that do not fit.

    Examples:
        >>> from importlib.util import find_spec
        >>> small = {"channels": [8, 8], "attention_levels": [False, True], "norm_num_groups": 4, "num_head_channels": 4, "width": 8}
        >>> def shape_of_noise():
        ...     volume = MonaiDiffusion(Image("image", 1, 8, 8, 8), [], **small)
        ...     return tuple(volume.sample_noise(2)["u"].shape)
        >>> shape_of_noise() if find_spec("monai") else (2, 1, 8, 8, 8)
        (2, 1, 8, 8, 8)
    """

    kinds = ("image",)
    path = Cosine()

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        channels: Sequence[int] = (32, 64, 64),
        num_res_blocks: int | Sequence[int] = 1,
        attention_levels: Sequence[bool] = (False, True, True),
        num_head_channels: int | Sequence[int] = 8,
        norm_num_groups: int = 32,
        norm_eps: float = 1e-6,
        resblock_updown: bool = False,
        transformer_num_layers: int = 1,
        dropout_cattn: float = 0.0,
        use_flash_attention: bool = False,
        width: int = 64,
        dropout: float = 0.1,
        smoothing: float = 0.0,
        predicts: str = "velocity",
        solver: str = "midpoint",
        steps: int = 3,
        exact: bool = True,
        guidance: float = 1.0,
        guidance_rest: float = 1.0,
    ):
        unet = {
            "channels": channels,
            "num_res_blocks": num_res_blocks,
            "attention_levels": attention_levels,
            "num_head_channels": num_head_channels,
            "norm_num_groups": norm_num_groups,
            "norm_eps": norm_eps,
            "resblock_updown": resblock_updown,
            "transformer_num_layers": transformer_num_layers,
            "dropout_cattn": dropout_cattn,
            "use_flash_attention": use_flash_attention,
        }

        def network() -> FieldNetwork:
            assert isinstance(variable, Image)
            return MonaiField(f"The mechanism 'monai_diffusion' of {variable.name!r}", variable.shape, width, unet)

        super().__init__(
            variable,
            parents,
            network=network,
            width=width,
            dropout=dropout,
            smoothing=smoothing,
            predicts=predicts,
            solver=solver,
            steps=steps,
            exact=exact,
            guidance=guidance,
            guidance_rest=guidance_rest,
        )
