"""Networks of MONAI behind the interfaces of this package; MONAI is imported when one is made, which takes seconds.

MONAI Generative Models: Pinaya et al. 2023, arXiv 2307.15208; in MONAI itself since version 1.4.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from counterbench.errors import ConfigError
from counterbench.networks.field import FieldNetwork, parts_of
from counterbench.plugins.extras import require_extra

TIMESTEPS = 1000
"""What MONAI's networks take for the time of pure noise."""


def monai_networks(what: str) -> Any:
    """The module `monai.networks.nets`, imported without a sound.

    Args:
        what: needs it, for the message.

    Raises:
        UnavailableError: without the extra `monai`.
    """
    require_extra("monai", what)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import monai.networks.nets as networks

    return networks


def make_monai(what: str, name: str, options: Mapping[str, Any], given: Mapping[str, Any]) -> nn.Module:
    """A network of MONAI by its class name.

    Args:
        what: needs it, for messages.
        name: of a class of `monai.networks.nets`.
        options: its keyword arguments that a user chose.
        given: those that follow from the variable.

    Raises:
        UnavailableError: without the extra `monai`. ConfigError: for options that MONAI refuses, with its reason.
    """
    if both := sorted(options.keys() & given.keys()):
        raise ConfigError(f"{what}: {both[0]} of MONAI's {name} follows from the variable; leave it out.")
    networks = monai_networks(what)
    try:
        network: nn.Module = vars(networks)[name](**options, **given)
    except (ValueError, TypeError, KeyError, RuntimeError, AssertionError, IndexError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{what}: MONAI's {name} refuses these options: {reason}") from error
    return network


def levels_of(options: Mapping[str, Any]) -> int:
    """How many levels a network of MONAI with these options has.

    Examples:
        >>> levels_of({"channels": [32, 64]})
        2
    """
    return len(options.get("channels", (32, 64, 64, 64)))


def require_halvings(what: str, sides: Sequence[int], levels: int) -> None:
    """Raise ConfigError unless all sides can be halved between that many levels.

    Examples:
        >>> require_halvings("image", (28, 28), 3)
        >>> require_halvings("image", (28, 28), 4)
        Traceback (most recent call last):
        counterbench.errors.ConfigError: image: 4 levels need sides that are divisible by 8; these are 28 x 28. Give fewer channels.
    """
    factor = 2 ** max(0, levels - 1)
    if any(side % factor for side in sides):
        raise ConfigError(
            f"{what}: {levels} levels need sides that are divisible by {factor}; these are {' x '.join(map(str, sides))}. "
            "Give fewer channels."
        )


class MonaiField(FieldNetwork):
    """MONAI's DiffusionModelUNet as a field over images or volumes, whose cross-attention looks at the tokens.

    Args:
        what: it is for, in messages.
        shape: (C, *sides) of the states, 2 or 3 sides.
        width: of a token.
        options: of DiffusionModelUNet, by MONAI's names, without what follows from the arguments above.

    Raises:
        UnavailableError: without the extra `monai`. ConfigError: for options or sides that do not fit.
    """

    def __init__(self, what: str, shape: Sequence[int], width: int, options: Mapping[str, Any]):
        super().__init__()
        given = {
            "spatial_dims": len(shape) - 1,
            "in_channels": shape[0],
            "out_channels": shape[0],
            "with_conditioning": True,
            "cross_attention_dim": width,
        }
        self.unet = make_monai(what, "DiffusionModelUNet", options, given)
        require_halvings(what, shape[1:], levels_of(options))
        self.what, self.flash = what, bool(options.get("use_flash_attention", False))

    def forward(self, state: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        # MONAI counts time in steps of noise.
        predicted: Tensor = self.unet(state, TIMESTEPS * (1 - time), context=tokens)
        return predicted

    def parts(self) -> dict[str, nn.Module]:
        return parts_of(self.unet)

    @contextmanager
    def watched(self) -> Iterator[Mapping[str, list[Tensor]]]:
        if self.flash:
            raise ConfigError(
                f"{self.what}: with use_flash_attention MONAI keeps no attention; leave it out to see where it looks."
            )
        seen: dict[str, list[Tensor]] = {}
        with ExitStack() as stack:
            for name, part in self.unet.named_modules():
                if type(part).__name__ == "SpatialTransformer":
                    seen |= stack.enter_context(_watched(name, part))
            yield seen


@contextmanager
def _watched(name: str, transformer: Any) -> Iterator[dict[str, list[Tensor]]]:
    """Of one transformer of MONAI's: its name, numbered where it has several layers -> what every call adds."""
    layers = [block.attn2 for block in transformer.transformer_blocks]
    names = [name] if len(layers) == 1 else [f"{name}.{number}" for number in range(len(layers))]
    seen: dict[str, list[Tensor]] = {each: [] for each in names}
    for layer in layers:
        layer.save_attn = True
    hook = transformer.register_forward_hook(partial(_look, layers, list(seen.values())))
    try:
        yield seen
    finally:
        hook.remove()
        for layer in layers:
            layer.save_attn, layer.att_mat = False, torch.Tensor()


def _look(layers: list[Any], seen: list[list[Tensor]], module: nn.Module, inputs: tuple[Any, ...], out: Tensor) -> None:
    """(N, heads, positions, T) of every layer -> (N, heads, T, *sides)."""
    for layer, maps in zip(layers, seen, strict=True):
        maps.append(layer.att_mat.transpose(2, 3).unflatten(3, out.shape[2:]))


class MonaiAutoencoder(nn.Module):
    """MONAI's AutoencoderKL of images or volumes: latents (N, latent channels, *sides) with a mean and a deviation.

    Args:
        what: it is for, in messages.
        shape: (C, *sides) of the images, 2 or 3 sides.
        options: of AutoencoderKL, by MONAI's names, without what follows from the shape.

    Raises:
        UnavailableError: without the extra `monai`. ConfigError: for options or sides that do not fit.
    """

    def __init__(self, what: str, shape: Sequence[int], options: Mapping[str, Any]):
        super().__init__()
        given = {"spatial_dims": len(shape) - 1, "in_channels": shape[0], "out_channels": shape[0]}
        self.network: Any = make_monai(what, "AutoencoderKL", options, given)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents of images (N, C, *sides)."""
        mean, deviation = self.network.encode(images)
        return mean, deviation

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> images (N, C, *sides)."""
        images: Tensor = self.network.decode(latents)
        return images


def latent_shape(what: str, shape: Sequence[int], options: Mapping[str, Any]) -> tuple[int, ...]:
    """(C, *sides) of the latents of AutoencoderKL with these options.

    Examples:
        >>> latent_shape("image", (1, 28, 28), {"channels": [32, 64], "latent_channels": 4})
        (4, 14, 14)
    """
    levels = levels_of(options)
    require_halvings(what, shape[1:], levels)
    return (int(options.get("latent_channels", 3)), *(side // 2 ** (levels - 1) for side in shape[1:]))
