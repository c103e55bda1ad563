"""The common base of `flow_matching` and `diffusion`: a generative ODE whose networks are this package's."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from counterbench.causal.phrases import Grammar
from counterbench.causal.variables import Image, Variable
from counterbench.errors import ConfigError
from counterbench.mechanisms.generative_ode import GenerativeODE
from counterbench.networks.convolutional import Encoder
from counterbench.networks.field import FieldNetwork
from counterbench.networks.residual import ResidualMLP
from counterbench.networks.unet import UNet


class UNetODE(GenerativeODE):
    """A generative ODE whose field is a U-Net of images or volumes, or a residual network of quantities.

    Args:
        width: of the embedding of time and of every token; for a quantity, of the hidden layers too.
        channels: of the U-Net's levels, fine to coarse; every level halves the sides.
        blocks: residual blocks per level, on the way down and on the way up.
        patch: side of the squares (cubes) of pixels that are one position of the finest level.
        attention: levels, the finest being 0, whose positions look at the tokens.
        heads: of that attention.
        dropout: share of training samples for which a condition is kept back, and of those for which all are; guidance needs it.
        smoothing: standard deviation of the noise that is added to the data in training, on the scale [-1, 1]; pixels that never vary have
            no density otherwise.
        predicts: what the network says: `velocity`, or `noise`.
        solver: midpoint, heun or euler; leapfrog or reversible-heun, whose steps can be undone.
        steps: of the solver, each way.
        exact: whether the noise keeps what the solver misses on its way back and forth, so that a null intervention returns its input; the
            last two solvers always do.
        guidance: weight of what an intervention reaches (what is set, and its descendants), as in classifier-free guidance; 1 for none.
        guidance_rest: weight of the other parents.
        semantic: length of the latent of an encoder of images, one more condition that abduction infers; 0 for none.
        semantic_weight: of its divergence from the prior.
        logarithm: of positive quantities: whether the field moves their logarithms, so that factors become shifts.
        phrases: of an image: whether the parents that the dataset's captions speak of are told in words, so that it can be asked where a phrase
            is; a parent with classes in words alone.
        grammar: of those captions; the program gives it.

    Examples:
        >>> from counterbench.mechanisms.diffusion import Diffusion
        >>> from counterbench.causal.variables import Binary
        >>> model = Diffusion(Image("image", 1, 8, 8), [Binary("smile")], width=8, channels=[8, 8], heads=2, attention=[1])
        >>> sorted(model.sample_noise(2)), model.token_names, sorted(model.blocks())[:2]
        (['correction', 'u'], ['smile'], ['down.0', 'down.1'])
    """

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        width: int = 128,
        channels: Sequence[int] = (48, 96, 128),
        blocks: int = 1,
        patch: int = 2,
        attention: Sequence[int] = (1, 2),
        heads: int = 4,
        dropout: float = 0.1,
        smoothing: float = 0.0,
        predicts: str = "velocity",
        solver: str = "midpoint",
        steps: int = 3,
        exact: bool = True,
        guidance: float = 1.0,
        guidance_rest: float = 1.0,
        semantic: int = 0,
        semantic_weight: float = 1.0,
        logarithm: bool = False,
        phrases: bool = False,
        grammar: Grammar | None = None,
    ):
        if phrases and grammar is None:
            raise ConfigError(f"{variable.name}: the card has no grammar of captions, so that phrases cannot be told.")

        def network() -> FieldNetwork:
            if isinstance(variable, Image):
                return UNet(
                    variable.shape,
                    width,
                    channels=channels,
                    blocks=blocks,
                    patch=patch,
                    attention=attention,
                    heads=heads,
                    words=grammar.length if phrases and grammar is not None else 0,
                )
            return ResidualMLP(variable.size, width, hidden=width, blocks=max(2, blocks))

        def encoder(image: Image) -> nn.Module:
            return Encoder(image.shape, sum(parent.size for parent in parents), channels, 2 * semantic)

        super().__init__(
            variable,
            parents,
            network=network,
            width=width,
            encoder=(lambda: encoder(variable)) if isinstance(variable, Image) else None,
            dropout=dropout,
            smoothing=smoothing,
            predicts=predicts,
            solver=solver,
            steps=steps,
            exact=exact,
            guidance=guidance,
            guidance_rest=guidance_rest,
            semantic=semantic,
            semantic_weight=semantic_weight,
            logarithm=logarithm,
            grammar=grammar if phrases else None,
        )
