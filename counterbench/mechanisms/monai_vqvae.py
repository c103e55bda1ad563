"""MONAI's VQ-VAE, told the parents, as a mechanism."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from counterbench.causal.chance import Generator, uniform
from counterbench.causal.variables import Image, Variable
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Mechanism, Noise, Parents
from counterbench.mechanisms.remembering import Remembering
from counterbench.networks.monai_networks import make_monai
from counterbench.plugins.registry import mechanisms

CODES, RESIDUAL = "codes", "residual"


@mechanisms.register(extra="monai")
class MonaiVQVAE(Mechanism):
    """image = decode(codes, parents) + residual: MONAI's VQ-VAE, whose encoder and decoder are told the parents.

    van den Oord et al., NeurIPS 2017; MONAI: Pinaya et al. 2023, arXiv 2307.15208. The numbers that encode the parents are constant maps beside
    the channels of the image for the encoder, and a learned linear function of them is added to every position of the quantised map for the
    decoder. Abduction keeps the index of the nearest code at each position, and what the decoder misses of the image under its own parents;
    prediction decodes the same codes under the new parents and adds it. There is no likelihood and no learned prior over codes:
    :meth:`sample_noise` draws each position on its own, by how often each code was used in training (before any training: uniformly).
    Train it with the objective `autoencoding`.

    Args:
        channels: of the levels of encoder and decoder.
        num_res_layers: residual layers per level.
        num_res_channels: channels inside of these, one number or one per level.
        downsample_parameters: per level stride, kernel size, dilation and padding of the convolution.
        upsample_parameters: per level stride, kernel size, dilation, padding and output padding of the transposed convolution.
        num_embeddings: how many codes.
        embedding_dim: length of a code.
        commitment_cost: weight of the distance between the encoder's maps and their codes.
        decay: of the moving averages by which the codes follow the encoder.
        exact: whether the noise keeps the residual, so that a null intervention returns its input; it counts as a pixel temperature of 1.

    Raises:
        UnavailableError: without the extra `monai`. ConfigError: for options or sides that do not fit.

    Examples:
        >>> from importlib.util import find_spec
        >>> small = {"channels": [8], "num_res_channels": 8, "downsample_parameters": [[2, 4, 1, 1]], "upsample_parameters": [[2, 4, 1, 1, 0]]}
        >>> def shape_of_codes():
        ...     return tuple(MonaiVQVAE(Image("image", 1, 8, 8), [], **small).sample_noise(2)["codes"].shape)
        >>> shape_of_codes() if find_spec("monai") else (2, 4, 4)
        (2, 4, 4)
    """

    kinds = ("image",)
    invertible = True
    stochastic_abduction = False
    has_likelihood = False

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        channels: Sequence[int] = (32, 64),
        num_res_layers: int = 1,
        num_res_channels: int | Sequence[int] = (32, 64),
        downsample_parameters: Sequence[Sequence[int]] = ((2, 4, 1, 1), (2, 4, 1, 1)),
        upsample_parameters: Sequence[Sequence[int]] = ((2, 4, 1, 1, 0), (2, 4, 1, 1, 0)),
        num_embeddings: int = 64,
        embedding_dim: int = 16,
        commitment_cost: float = 0.25,
        decay: float = 0.95,
        exact: bool = True,
    ):
        super().__init__(variable, parents)
        assert isinstance(variable, Image)
        what = f"The mechanism 'monai_vqvae' of {variable.name!r}"
        options = {
            "channels": channels,
            "num_res_layers": num_res_layers,
            "num_res_channels": num_res_channels,
            "downsample_parameters": tuple(tuple(level) for level in downsample_parameters),
            "upsample_parameters": tuple(tuple(level) for level in upsample_parameters),
            "num_embeddings": num_embeddings,
            "embedding_dim": embedding_dim,
            "commitment_cost": commitment_cost,
            "decay": decay,
        }
        given = {
            "spatial_dims": len(variable.spatial),
            "in_channels": variable.channels + self.context_size,
            "out_channels": variable.channels,
            "ddp_sync": False,
        }
        self.network: Any = make_monai(what, "VQVAE", options, given)
        self.tell = nn.Linear(self.context_size, embedding_dim, bias=False) if self.context_size else None
        self.image, self.exact, self.invertible, self.pixel_temperature = variable, exact, exact, float(exact)
        self.commitment_cost = commitment_cost
        self.code_sides = _sides_between(what, variable.spatial, downsample_parameters, upsample_parameters)

    @property
    def codebook(self) -> Tensor:
        """The codes, (num_embeddings, embedding_dim)."""
        codes: Tensor = self.network.quantizer.quantizer.embedding.weight
        return codes

    def encoded_maps(self, value: Tensor, parents: Parents) -> Tensor:
        """What is quantised: images (N, C, *sides) -> (N, embedding_dim, *code_sides)."""
        told = _spread(self.context(parents, value), value.shape[2:])
        maps: Tensor = self.network.encode(torch.cat([value, told], 1))
        return maps

    def decoded(self, quantised: Tensor, parents: Parents) -> Tensor:
        """(N, embedding_dim, *code_sides) -> images (N, C, *sides)."""
        if self.tell is not None:
            quantised = quantised + _spread(self.tell(self.context(parents, quantised)), quantised.shape[2:])
        images: Tensor = self.network.decode(quantised)
        return images

    def _codes_of(self, maps: Tensor) -> Tensor:
        """The index of the nearest code at each position, (N, *code_sides)."""
        positions = maps.flatten(2).transpose(1, 2)
        apart = torch.cdist(positions, self.codebook[None], compute_mode="donot_use_mm_for_euclid_dist")
        return apart.argmin(2).view(len(maps), *maps.shape[2:])

    def _image_of(self, codes: Tensor, parents: Parents) -> Tensor:
        return self.decoded(self.codebook[codes.long()].movedim(-1, 1), parents)

    def abduct(self, value: Tensor, parents: Parents, generator: Generator = None) -> Noise:
        codes = self._codes_of(self.encoded_maps(value, parents)).to(value.dtype)
        image = self._image_of(codes, parents)
        noise = {CODES: codes, RESIDUAL: value - image} if self.exact else {CODES: codes}
        return noise if torch.is_grad_enabled() else Remembering(noise, self, parents, image)

    def generate(self, noise: Noise, parents: Parents, reached: frozenset[str] = frozenset()) -> Tensor:
        known = noise.result_of(self, parents) if isinstance(noise, Remembering) else None
        image = self._image_of(noise[CODES], parents) if known is None else known
        return (image + noise[RESIDUAL] if RESIDUAL in noise else image).clamp(-1, 1)

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        used = self.network.quantizer.quantizer.ema_cluster_size.double().cpu()
        law = (used if used.sum() > 0 else torch.ones_like(used)).cumsum(0)
        drawn = uniform((count, math.prod(self.code_sides)), generator)
        codes = torch.searchsorted(law / law[-1], drawn).clamp(max=len(law) - 1)
        noise = {CODES: codes.view(count, *self.code_sides).to(self.reference)}
        if self.exact:
            noise[RESIDUAL] = self.reference.new_zeros(count, *self.image.shape)
        return noise

    def autoencoding_loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        """Mean squared error of a pixel on the scale [-1, 1], and commitment_cost times that of the maps from their codes; (N,).

        In training mode the codes follow the maps.
        """
        maps = self.encoded_maps(value, parents)
        quantised, _, _ = self.network.quantizer.quantizer(maps)
        error = (self.decoded(quantised, parents) - value).square().flatten(1).mean(1)
        apart: Tensor = (quantised.detach() - maps).square().flatten(1).mean(1)
        return error + self.commitment_cost * apart

    def autoencoder_parameters(self) -> Iterator[nn.Parameter]:
        """All weights."""
        return self.parameters()

    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        return self.autoencoding_loss(value, parents, generator)

    def blocks(self) -> Mapping[str, nn.Module]:
        """Encoder, codes, decoder, and what tells it the parents: name -> module."""
        parts = dict(self.network.named_children())
        return parts if self.tell is None else {**parts, "tell": self.tell}


def _spread(numbers: Tensor, sides: Sequence[int]) -> Tensor:
    """(N, K) -> (N, K, *sides), constant."""
    return numbers.reshape(*numbers.shape, *[1] * len(sides)).expand(-1, -1, *sides)


def _sides_between(
    what: str, sides: Sequence[int], down: Sequence[Sequence[int]], up: Sequence[Sequence[int]]
) -> tuple[int, ...]:
    """Sides of the map of codes.

    Raises:
        ConfigError: if the way up does not lead back to the sides.
    """
    codes = []
    for side in sides:
        small = side
        for stride, kernel, dilation, padding in down:
            small = (small + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        large = small
        for stride, kernel, dilation, padding, more in up:
            large = (large - 1) * stride - 2 * padding + dilation * (kernel - 1) + more + 1
        if small < 1 or large != side:
            raise ConfigError(
                f"{what}: a side of {side} becomes {small} codes and {large} pixels; let upsample_parameters undo downsample_parameters."
            )
        codes.append(small)
    return tuple(codes)
