"""The network of a MONAI bundle as the mechanism of an image, as it was trained elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from counterbench.causal.chance import Generator, normal, uniform
from counterbench.causal.variables import Continuous, Image, Variable
from counterbench.errors import ConfigError, short
from counterbench.mechanisms.base import Mechanism, Noise, Parents
from counterbench.mechanisms.generative_ode import GenerativeODE
from counterbench.networks.field import FieldNetwork, parts_of
from counterbench.networks.monai_bundles import Bundle, read_bundle
from counterbench.networks.paths import Linear, Scheduled
from counterbench.plugins.extras import require_extra
from counterbench.plugins.registry import mechanisms

DENOISER, AUTOENCODER = "denoiser", "autoencoder"
_FORMS = {"epsilon", "v_prediction", "sample"}
_RECTIFIED = "rectified flow"
_CODES, _LATENT = "codes", "latent"


@mechanisms.register(extra="monai")
class MonaiBundle(Mechanism):
    """x = what the network of a MONAI bundle makes of noise and parents; the bundle is used as it is, and nothing is trained.

    `asks: denoiser` takes a network that predicts what a scheduler of MONAI says (epsilon, v_prediction or sample; for a rectified flow the velocity)
    from a noisy image, its timestep and, if the image has parents, `context` (N, 1, D): the numbers that encode all parents, side by side in the order of
    the graph. Its probability flow is integrated back under the factual parents and forth under the counterfactual ones, as in `diffusion`. The
    configuration must name the scheduler under `scheduler` or `noise_scheduler`.

    `asks: autoencoder` takes an AutoencoderKL or a VQVAE. Such a network knows no parents: every answer is the reconstruction of the photograph,
    whatever is set. It says how much of an image its latent keeps, and is no counterfactual.

    MONAI: Cardoso et al. 2022, arXiv 2211.02701; Pinaya et al. 2023, arXiv 2307.15208. Of the bundle, classes of monai.networks and torch.nn are made
    and tensors are read; expressions ("$...") are refused.

    Args:
        path: of the bundle's folder, relative to the recipe.
        asks: `denoiser` or `autoencoder`.
        network: what the configuration calls the network.
        intensity: what black and white (grey levels 0 and 255) are to the network.
        context: how continuous parents are told: `signed`, from -1 at the least value to 1 at the greatest, or `unit`, from 0 to 1. Classes are told as
            0 and 1 in either case.
        solver: of a denoiser: midpoint, heun or euler; leapfrog or reversible-heun.
        steps: of the solver, each way.
        exact: of a denoiser: whether the noise keeps what the solver misses, so that a null intervention returns its input.

    Raises:
        UnavailableError: without the extra `monai`. ConfigError: for a folder that is no bundle, a configuration that would run code, or a network that
        does not fit the image and its parents. CheckpointError: for weights that are missing, damaged or of another network.

    Examples:
        >>> MonaiBundle(Image("image", 1, 8, 8), [], path="nowhere", asks="autoencoder")
        Traceback (most recent call last):
        counterbench.errors.ConfigError: nowhere is no MONAI bundle: it has no configs/inference.json (or .yaml).
    """

    kinds = ("image",)
    invertible = False
    stochastic_abduction = False
    has_likelihood = False
    pretrained = True

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        path: str = "",
        asks: str = DENOISER,
        network: str = "network_def",
        intensity: tuple[float, float] = (0.0, 1.0),
        context: str = "signed",
        solver: str = "midpoint",
        steps: int = 10,
        exact: bool = True,
    ):
        super().__init__(variable, parents)
        if not path:
            raise ConfigError(f"{variable.name}: monai_bundle needs the option path, the folder of the bundle.")
        if asks not in (DENOISER, AUTOENCODER):
            raise ConfigError(f"{variable.name}: asks is {short(asks)}; give {DENOISER} or {AUTOENCODER}.")
        if context not in ("signed", "unit"):
            raise ConfigError(f"{variable.name}: context is {short(context)}; give signed or unit.")
        if intensity[0] >= intensity[1]:
            raise ConfigError(
                f"{variable.name}: intensity is {list(intensity)}; the first number must be below the second."
            )
        bundle = read_bundle(Path(path))
        require_extra("monai", "The mechanism 'monai_bundle'")
        made = bundle.network(network)
        self.inner: Mechanism
        if asks == AUTOENCODER:
            self.inner = BundleAutoencoder(variable, parents, network=made, intensity=intensity)
        else:
            told = Told(parents, unit=context == "unit")
            self.inner = BundleDenoiser(
                variable,
                parents,
                network=made,
                scheduler=_scheduler_of(bundle),
                told=told,
                intensity=intensity,
                solver=solver,
                steps=steps,
                exact=exact,
            )
        self.invertible = self.inner.invertible
        self.requires_grad_(False)

    def abduct(self, value: Tensor, parents: Parents, generator: Generator = None) -> Noise:
        return self.inner.abduct(value, parents, generator)

    def generate(self, noise: Noise, parents: Parents, reached: frozenset[str] = frozenset()) -> Tensor:
        return self.inner.generate(noise, parents, reached)

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        return self.inner.sample_noise(count, generator)

    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        return self.inner.loss(value, parents, generator)

    def pyro_sample(self, name: str, parents: Parents, count: int) -> Tensor:
        return self.inner.pyro_sample(name, parents, count)

    def blocks(self) -> Mapping[str, nn.Module]:
        """The parts of the bundle's network: name -> module."""
        network: Any = self.inner.network
        return parts_of(network.network if isinstance(network, BundleField) else network)


class Scaled:
    """Grey levels on the scale of a network.

    Args:
        low: what black is to the network.
        high: what white is.

    Examples:
        >>> scale = Scaled(0, 1)
        >>> scale.inside(torch.tensor([-1.0, 1.0])).tolist(), scale.outside(torch.tensor([0.0, 1.0])).tolist()
        ([0.0, 1.0], [-1.0, 1.0])
    """

    def __init__(self, low: float, high: float):
        self.low, self.high = low, high

    def inside(self, value: Tensor) -> Tensor:
        """Encoded values, -1 to 1 -> what the network takes."""
        return self.low + (value + 1) / 2 * (self.high - self.low)

    def outside(self, state: Tensor) -> Tensor:
        """Back, within -1 and 1."""
        return (2 * (state - self.low) / (self.high - self.low) - 1).clamp(-1, 1)


class Told(nn.Module):
    """The numbers that encode all conditions as one token, for a network that was trained with such a context.

    Args:
        parents: in the order of the graph.
        unit: whether quantities are told from 0 to 1.

    Examples:
        >>> told = Told([Continuous("age", 0, 100)], unit=True)
        >>> told([torch.tensor([[-1.0], [1.0]])], torch.ones(2, 1)).tolist()
        [[[0.0]], [[1.0]]]
    """

    def __init__(self, parents: Sequence[Variable], *, unit: bool):
        super().__init__()
        self.scaled = [unit and isinstance(parent, Continuous) and not parent.periodic for parent in parents]

    def forward(self, conditions: list[Tensor], told: Tensor) -> Tensor:
        """[(N, size), ...] -> (N, 1, sum of sizes); what is told is told always."""
        numbers = [(one + 1) / 2 if scaled else one for one, scaled in zip(conditions, self.scaled, strict=True)]
        return torch.cat(numbers, 1)[:, None] if numbers else told.new_zeros(len(told), 1, 0)


class BundleField(FieldNetwork):
    """A denoiser of MONAI's as a field.

    Args:
        network: (images, timesteps, context=...) -> prediction.
        last: timestep of time 0.

    Examples:
        >>> class Echo(nn.Module):
        ...     def forward(self, x, timesteps, context=None):
        ...         return timesteps[:, None] + x
        >>> BundleField(Echo(), 999)(torch.zeros(1, 1), torch.zeros(1), torch.zeros(1, 1, 0)).tolist()
        [[999.0]]
    """

    def __init__(self, network: nn.Module, last: int):
        super().__init__()
        self.network, self.last = network, last

    def forward(self, state: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        steps = self.last * (1 - time)
        told = {"context": tokens} if tokens.shape[2] else {}
        predicted: Tensor = self.network(state, steps, **told)
        return predicted

    def parts(self) -> dict[str, nn.Module]:
        return parts_of(self.network)


class BundleDenoiser(GenerativeODE):
    """A generative ODE along the schedule that a denoiser was trained with.

    Args:
        network: (images, timesteps, context=...) -> prediction.
        scheduler: (path, what is predicted, timestep of pure noise).
        told: makes the context.
        intensity: what black and white are to the network.
        solver: see :class:`counterbench.mechanisms.generative_ode.GenerativeODE`.
        steps: of the solver.
        exact: whether the noise keeps what the solver misses.

    Examples:
        >>> class Still(nn.Module):
        ...     def forward(self, x, timesteps, context=None):
        ...         return 0 * x
        >>> image = Image("image", 1, 2, 2)
        >>> still = BundleDenoiser(
        ...     image, [], network=Still(), scheduler=(Linear(), "rectified flow", 1000), told=Told([], unit=False), intensity=(0, 1),
        ...     solver="euler", steps=2, exact=False,
        ... )
        >>> still.abduct(torch.ones(1, 1, 2, 2), {})["u"].flatten().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    kinds = ("image",)

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        network: nn.Module,
        scheduler: tuple[Linear | Scheduled, str, int],
        told: Told,
        intensity: tuple[float, float],
        solver: str,
        steps: int,
        exact: bool,
    ):
        path, form, last = scheduler
        super().__init__(
            variable,
            parents,
            network=lambda: BundleField(network, last),
            width=1,
            dropout=0.0,
            solver=solver,
            steps=steps,
            exact=exact,
        )
        self.path, self.form, self.tokens, self.scale = path, form, told, Scaled(*intensity)
        _require_answer(variable, lambda: self._asked_once(variable), "as a denoiser")

    def _asked_once(self, variable: Variable) -> Tensor:
        state = self.reference.new_zeros(1, *self.state_shape())
        told = {parent.name: self.reference.new_zeros(1, parent.size) for parent in self.parents}
        return self.velocity(state, state.new_full((1,), 0.5), told)

    def standardised(self, value: Tensor) -> Tensor:
        return self.scale.inside(value)

    def _natural(self, state: Tensor) -> Tensor:
        return self.scale.outside(state)

    def as_velocity(self, predicted: Tensor, state: Tensor, time: Tensor) -> Tensor:
        if self.form == _RECTIFIED:
            return predicted
        weights = self.path.weights(time.view(-1, *[1] * (state.ndim - 1)))
        if self.form == "v_prediction":
            value, noise = (
                weights.signal * state - weights.noise * predicted,
                weights.signal * predicted + weights.noise * state,
            )
        elif self.form == "sample":
            value, noise = predicted, (state - weights.signal * predicted) / weights.noise
        else:
            value, noise = (state - weights.noise * predicted) / weights.signal, predicted
        return weights.signal_rate * value + weights.noise_rate * noise

    def target(self, value: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        if self.form == _RECTIFIED:
            return self.path.velocity(value, noise, time)
        weights = self.path.weights(time.view(-1, *[1] * (value.ndim - 1)))
        turned = weights.signal * noise - weights.noise * value
        return {"v_prediction": turned, "sample": value}.get(self.form, noise)


class BundleAutoencoder(Mechanism):
    """x = the reconstruction of an autoencoder that knows no parents.

    Args:
        network: an AutoencoderKL or a VQVAE of MONAI.
        intensity: what black and white are to the network.

    Raises:
        ConfigError: for another network, or one for other images.

    Examples:
        >>> BundleAutoencoder(Image("image", 1, 2, 2), [], network=nn.Identity(), intensity=(0, 1))
        Traceback (most recent call last):
        counterbench.errors.ConfigError: image: asks: autoencoder takes an AutoencoderKL or a VQVAE; the bundle holds a network of class Identity.
    """

    kinds = ("image",)
    invertible = False
    stochastic_abduction = False
    has_likelihood = False

    def __init__(
        self, variable: Variable, parents: Sequence[Variable], *, network: Any, intensity: tuple[float, float]
    ):
        super().__init__(variable, parents)
        family = type(network).__name__
        if family not in ("AutoencoderKL", "VQVAE"):
            raise ConfigError(
                f"{variable.name}: asks: autoencoder takes an AutoencoderKL or a VQVAE; the bundle holds a network of class {family}."
            )
        self.network, self.scale = network, Scaled(*intensity)
        self.part = _CODES if family == "VQVAE" else _LATENT
        assert isinstance(variable, Image)
        blank = self.reference.new_zeros(1, *variable.shape)
        self.sides: tuple[int, ...] = ()

        def asked_once() -> Tensor:
            noise = self.abduct(blank, {})
            self.sides = tuple(noise[self.part].shape[1:])
            return self.generate(noise, {})

        _require_answer(variable, asked_once, "as an autoencoder")

    def abduct(self, value: Tensor, parents: Parents, generator: Generator = None) -> Noise:
        images = self.scale.inside(value)
        if self.part == _LATENT:
            return {_LATENT: self.network.encode(images)[0]}
        maps = self.network.encode(images)
        positions = maps.flatten(2).transpose(1, 2)
        apart = torch.cdist(positions, self._codebook[None], compute_mode="donot_use_mm_for_euclid_dist")
        return {_CODES: apart.argmin(2).view(len(value), *maps.shape[2:]).to(value.dtype)}

    @property
    def _codebook(self) -> Tensor:
        codes: Tensor = self.network.quantizer.quantizer.embedding.weight
        return codes

    def generate(self, noise: Noise, parents: Parents, reached: frozenset[str] = frozenset()) -> Tensor:
        if self.part == _LATENT:
            return self.scale.outside(self.network.decode(noise[_LATENT]))
        return self.scale.outside(self.network.decode(self._codebook[noise[_CODES].long()].movedim(-1, 1)))

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        """Latents from the standard normal, which training pulls them towards; codes uniformly."""
        if self.part == _LATENT:
            return {_LATENT: normal((count, *self.sides), generator, self.reference)}
        drawn = uniform((count, *self.sides), generator) * len(self._codebook)
        return {_CODES: drawn.floor().to(self.reference)}

    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        """Mean absolute error of a pixel on the scale [-1, 1], (N,)."""
        return (self.generate(self.abduct(value, parents), parents) - value).abs().flatten(1).mean(1)


def _scheduler_of(bundle: Bundle) -> tuple[Linear | Scheduled, str, int]:
    """The path of a bundle's scheduler, what its network predicts, and the timestep of pure noise.

    Raises:
        ConfigError: for a scheduler that is none of MONAI's.
    """
    scheduler = bundle.scheduler()
    family = type(scheduler).__name__
    if family == "RFlowScheduler":
        return Linear(), _RECTIFIED, int(scheduler.num_train_timesteps)
    if (
        family not in ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler")
        or str(scheduler.prediction_type) not in _FORMS
    ):
        raise ConfigError(
            f"{bundle.folder}: the scheduler is a {family}; give a DDPM-, DDIM-, PNDM- or RFlowScheduler of monai.networks.schedulers."
        )
    kept = scheduler.alphas_cumprod
    return Scheduled(kept), str(scheduler.prediction_type), len(kept) - 1


def _require_answer(variable: Variable, ask: Callable[[], Tensor], how: str) -> None:
    """Raise ConfigError unless a network answers one blank image with an image of its shape."""
    try:
        with torch.no_grad():
            answer = ask()
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{variable.name}: the bundle's network does not work {how} for this image and its parents: {short(reason)}"
        ) from error
    if isinstance(variable, Image) and tuple(answer.shape[1:]) != variable.shape:
        raise ConfigError(
            f"{variable.name}: the bundle's network gives {list(answer.shape[1:])} for an image of {list(variable.shape)}; it is for other images."
        )
