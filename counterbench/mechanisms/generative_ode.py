"""The common base of mechanisms that carry noise to data along a learned velocity field, whatever network it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from counterbench.causal.chance import Generator, normal, uniform
from counterbench.causal.phrases import Grammar
from counterbench.causal.variables import Continuous, Image, Variable, Vector
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Mechanism, Noise, Parents
from counterbench.mechanisms.remembering import Remembering
from counterbench.networks.attention import Tokens
from counterbench.networks.field import FieldNetwork
from counterbench.networks.normal import normal_divergence
from counterbench.networks.paths import Path
from counterbench.networks.solvers import CORRECTION, PRIMARY, Field, make_solver
from counterbench.networks.spatial import everywhere

SEMANTIC = "semantic"
PHRASE = "phrase"
"""Name of the tokens of words."""
VELOCITY, NOISE = "velocity", "noise"
FAINT = 0.02
"""Time at which a path has some signal."""
NOISE_TIMES = 8
"""Places on the path where the norm of the predicted noise is taken."""
TINY = 1e-9
"""Smallest number of which a logarithm is taken."""


class GenerativeODE(Mechanism):
    """dx/dt = field(x, t, parents) from standard normal noise at time 0 to the value at time 1.

    Abduction integrates back under the factual parents, prediction forwards under the counterfactual ones. The noise has the parts
    `u`, the state at time 0, to which prior and likelihood belong; with an exact solver `correction`, what the solver
    misses (zero for drawn noise); with semantic abduction `semantic`, the latent of an encoder.

    Args:
        network: makes the field.
        width: of every token.
        encoder: makes what infers the semantic latent from images; None where there is none.
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
        grammar: says some parents in words; None for none. A parent with classes that is said in words is told in no other way, a quantity
            by its number too. Training varies the wording; answers are asked in the usual one.

    Examples:
        >>> from counterbench.mechanisms.diffusion import Diffusion
        >>> from counterbench.causal.variables import Binary
        >>> model = Diffusion(Image("image", 1, 8, 8), [Binary("smile")], width=8, channels=[8, 8], heads=2, attention=[1])
        >>> sorted(model.sample_noise(2)), model.token_names, sorted(model.blocks())[:2]
        (['correction', 'u'], ['smile'], ['down.0', 'down.1'])
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "continuous", "vector")
    invertible = True
    stochastic_abduction = False
    has_likelihood = False
    path: Path
    """Between noise and data."""

    network: FieldNetwork

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        network: Callable[[], FieldNetwork],
        width: int,
        encoder: Callable[[], nn.Module] | None = None,
        dropout: float = 0.1,
        smoothing: float = 0.0,
        predicts: str = VELOCITY,
        solver: str = "midpoint",
        steps: int = 3,
        exact: bool = True,
        guidance: float = 1.0,
        guidance_rest: float = 1.0,
        semantic: int = 0,
        semantic_weight: float = 1.0,
        logarithm: bool = False,
        grammar: Grammar | None = None,
    ):
        super().__init__(variable, parents)
        if not 0 <= dropout < 1:
            raise ConfigError(f"{variable.name}: dropout is {dropout}; it must lie in [0, 1).")
        if predicts not in (VELOCITY, NOISE):
            raise ConfigError(f"{variable.name}: predicts is {predicts!r}; give {VELOCITY} or {NOISE}.")
        self.dropout, self.smoothing, self.predicts = dropout, smoothing, predicts
        self.guidance, self.guidance_rest = guidance, guidance_rest
        self.semantic, self.semantic_weight = semantic, semantic_weight
        quantities = _quantities(variable)
        if logarithm and (not quantities or min(part.low for part in quantities) < 0):
            raise ConfigError(f"{variable.name}: logarithm needs quantities whose ranges begin at 0 or above.")
        self.logarithm = logarithm
        # A predicted noise says nothing of the value where there is no signal.
        self.solver = make_solver(solver, steps, start=FAINT if predicts == NOISE else 0.0, exact=exact)
        self.invertible = self.solver.exact
        self.stochastic_abduction = semantic > 0
        if semantic and encoder is None:
            raise ConfigError(
                f"{variable.name}: semantic abduction encodes images; {variable.name} is {variable.kind}."
            )
        self.network = network()
        self.encoder = encoder() if encoder is not None and semantic else None
        self.grammar = grammar
        spoken = _spoken(grammar, self.parents)
        self.numbers = tuple(p for p in self.parents if p.name not in spoken or isinstance(p, Continuous))
        """Parents that the field is told by numbers."""
        sizes = [2 if _turns(parent) else parent.size for parent in self.numbers] + [semantic] * bool(semantic)
        words = {} if grammar is None else {"vocabulary": len(grammar.vocabulary), "length": grammar.length}
        self.tokens: nn.Module = Tokens(sizes, width, **words)
        # Quantities are standardised, so that noise and data have one scale; images already are.
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.zeros(1 if isinstance(variable, Image) else variable.size))
        self.register_buffer("spread", torch.ones_like(self.mean))

    # --- the field ------------------------------------------------------------------------------------------------

    def as_velocity(self, predicted: Tensor, state: Tensor, time: Tensor) -> Tensor:
        """The velocity that a prediction stands for at states (N, ...) and times (N,)."""
        return self.path.velocity_from_noise(state, predicted, time) if self.predicts == NOISE else predicted

    def target(self, value: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """What the network is trained to predict, (N, ...)."""
        return noise if self.predicts == NOISE else self.path.velocity(value, noise, time)

    def conditions(
        self, parents: Parents, like: Tensor, *, semantic: Tensor | None = None, phrase: Tensor | None = None
    ) -> list[Tensor]:
        """What the tokens are made of: every parent that is told by numbers, (N, size), an angle as its sine and cosine; then the semantic latent and
        the words of the phrase, (N, length), where there are any.

        Args:
            parents: encoded.
            like: of its type and on its device.
            semantic: the latent.
            phrase: numbers of words; None for the usual phrase about the parents.
        """
        told = []
        for parent in self.numbers:
            value = parents[parent.name].flatten(1).to(dtype=like.dtype, device=like.device)
            told.append(torch.cat([(torch.pi * value).sin(), (torch.pi * value).cos()], 1) if _turns(parent) else value)
        if semantic is not None:
            told.append(semantic)
        if self.grammar is not None:
            told.append((self.phrase(parents) if phrase is None else phrase).to(like.device))
        return told

    def phrase(self, parents: Parents, chance: Tensor | None = None) -> Tensor:
        """Numbers of the words of a phrase about the parents, (N, length).

        Args:
            parents: encoded.
            chance: (N, choices of the grammar), in [0, 1): which of the ways to say it; None for the usual one.
        """
        assert self.grammar is not None
        known = {
            parent.name: parent.decode(parents[parent.name].cpu())
            for parent in self.parents
            if parent.name in self.grammar.words
        }
        return self.grammar.tokens(self.grammar.say(known, chance))

    @property
    def token_names(self) -> list[str]:
        """What the tokens stand for, in their order."""
        names = [parent.name for parent in self.numbers] + [SEMANTIC] * bool(self.semantic)
        names += [PHRASE] * (0 if self.grammar is None else self.grammar.length)
        return names or ["(nothing)"]

    def velocity(
        self,
        value: Tensor,
        time: Tensor,
        parents: Parents,
        *,
        told: Tensor | None = None,
        phrase: Tensor | None = None,
    ) -> Tensor:
        """The field at encoded values (N, ...) and times (N,), in units of the standardised value.

        Args:
            value: states on the path.
            time: 0 (noise) to 1 (data).
            parents: encoded.
            told: (N, tokens), which conditions the field is told; default: all.
            phrase: (N, length), numbers of words; default: the usual phrase about the parents.
        """
        latent = value.new_zeros(len(value), self.semantic) if self.semantic else None
        conditions = self.conditions(parents, value, semantic=latent, phrase=phrase)
        tokens = self.tokens(conditions, self._told(value) if told is None else told)
        return self.as_velocity(self.network(value, time, tokens), value, time)

    def predicted_noise(self, value: Tensor, time: Tensor, parents: Parents, *, told: Tensor | None = None) -> Tensor:
        """The noise that the field takes to be in states (N, ...) at times (N,), (N, ...)."""
        return self.path.noise_from_velocity(value, self.velocity(value, time, parents, told=told), time)

    def noise_norm(
        self, value: Tensor, parents: Parents, generator: Generator = None, *, times: int = NOISE_TIMES
    ) -> Tensor:
        """How much the parents move the predicted noise, (N,): the root mean square of its change when all of them are kept back, on the way
        from noise to the value.

        Where a model has memorised what belongs to these parents, they move it much (Wen et al., ICLR 2024, on samples drawn by the model).

        Args:
            value: encoded, (N, ...).
            parents: encoded.
            generator: chance, of the noise.
            times: places on the path at which it is taken.
        """
        end, squares = self.standardised(value), []
        nothing = self._told(value, frozenset(self.token_names))
        for step in range(times):
            time = value.new_full((len(value),), (step + 0.5) / times)
            start = normal((len(value), *self.state_shape()), generator, value)
            state = self.path.at(end, start, time)
            told, untold = (self.predicted_noise(state, time, parents, told=which) for which in (None, nothing))
            squares.append((told - untold).square().flatten(1).mean(1))
        return torch.stack(squares).mean(0).sqrt()

    def _told(self, like: Tensor, without: frozenset[str] | None = None) -> Tensor:
        """(N, tokens): everything, but for what is named; with None, everything."""
        names = self.token_names
        row = torch.tensor([without is None or name not in without for name in names], device=like.device)
        return row.expand(len(like), -1)

    def _field(self, conditions: list[Tensor], like: Tensor, reached: frozenset[str] = frozenset()) -> Field:
        """The field under some conditions, guided where an intervention reaches some of them."""
        branches, weights = self._branches(like, reached)
        tokens = torch.cat([self.tokens(conditions, told) for told in branches])
        count = len(branches)

        def field(state: Tensor, time: float) -> Tensor:
            # All branches in one pass.
            states = state.repeat(count, *[1] * (state.ndim - 1)) if count > 1 else state
            times = state.new_full((len(states),), time)
            velocity = self.as_velocity(self.network(states, times, tokens), states, times)
            parts = [weight * part for weight, part in zip(weights, velocity.chunk(count), strict=True)]
            return velocity if count == 1 else torch.stack(parts).sum(0)

        return field

    def _branches(self, like: Tensor, reached: frozenset[str]) -> tuple[list[Tensor], list[float]]:
        """What the field is told in each of its evaluations, and the weights of these.

        v = v(nothing) + rest (v(untouched) - v(nothing)) + guidance (v(all) - v(untouched)): classifier-free guidance with a weight of its own
        for what the intervention reaches. Evaluations whose weight is zero are left out: with weights of 1 only v(all) remains.
        """
        names = frozenset(self.token_names)
        touched = names & self._touched(reached)
        if not touched:
            return [self._told(like)], [1.0]
        rest = self.guidance_rest if touched != names else self.guidance
        parts = [(names, 1 - rest), (touched, rest - self.guidance), (frozenset[str](), self.guidance)]
        kept = [(self._told(like, without), weight) for without, weight in parts if weight]
        return [told for told, _ in kept], [weight for _, weight in kept]

    def _touched(self, reached: frozenset[str]) -> frozenset[str]:
        """The same names, and that of the words where they speak of any of them."""
        speaks = self.grammar is not None and any(name in self.grammar.words for name in reached)
        return reached | {PHRASE} if speaks else reached

    # --- the mechanism --------------------------------------------------------------------------------------------

    def prepare(self, value: Tensor, parents: Parents) -> None:
        if not isinstance(self.variable, Image):
            moved = self._moved(value)
            self.mean.copy_(moved.mean(0))
            self.spread.copy_(moved.std(0).clamp(min=1e-6))

    def _moved(self, value: Tensor) -> Tensor:
        """What the field moves: encoded values, or the logarithm of natural ones."""
        return self._decoded(value).clamp(min=TINY).log() if self.logarithm else value

    def _decoded(self, value: Tensor) -> Tensor:
        """Encoded quantities as natural ones, (N, size) both."""
        return self.variable.decode(value).reshape(len(value), -1)

    def standardised(self, value: Tensor) -> Tensor:
        """Encoded values (N, ...) as states of the field, on the scale of the noise; images already are."""
        return value if isinstance(self.variable, Image) else (self._moved(value) - self.mean) / self.spread

    def state_shape(self) -> tuple[int, ...]:
        """The shape of one state of the field, and so of its noise."""
        return self.variable.shape if isinstance(self.variable, Image) else (self.variable.size,)

    def missed(self, value: Tensor, reached: Tensor) -> Noise:
        """Parts of the noise that hold what a state cannot, given a value and what its own state is as a value; none by default."""
        return {}

    def completed(self, reached: Tensor, noise: Noise) -> Tensor:
        """A value that a state stands for, with what :meth:`missed` has kept."""
        return reached

    def _natural(self, state: Tensor) -> Tensor:
        """Back from there to encoded values."""
        if isinstance(self.variable, Image):
            return state.clamp(-1, 1)
        moved = state * self.spread + self.mean
        if not self.logarithm:
            return moved
        natural = moved.exp()
        return self.variable.encode(natural if isinstance(self.variable, Vector) else natural[:, 0], moved.dtype)

    def abduct(self, value: Tensor, parents: Parents, generator: Generator = None) -> Noise:
        semantic, _ = self._inferred(value, parents, generator)
        state = self.standardised(value)
        noise: Noise = self.solver.back(state, self._field(self.conditions(parents, value, semantic=semantic), value))
        if semantic is not None:
            noise[SEMANTIC] = semantic
        if not self.solver.exact:
            return noise
        reached = self._natural(state)
        noise |= self.missed(value, reached)
        if torch.is_grad_enabled():
            return noise
        # Exact: under the same parents the way forth ends here, up to rounding; nobody has to go it again.
        return Remembering(noise, self, parents, self.completed(reached, noise))

    def generate(self, noise: Noise, parents: Parents, reached: frozenset[str] = frozenset()) -> Tensor:
        if isinstance(noise, Remembering) and not self._guides(reached):
            known: Tensor | None = noise.result_of(self, parents)
            if known is not None:
                return known.clone()
        state = noise[PRIMARY]
        conditions = self.conditions(parents, state, semantic=noise.get(SEMANTIC))
        return self.completed(self._natural(self.solver.forth(noise, self._field(conditions, state, reached))), noise)

    def _guides(self, reached: frozenset[str]) -> bool:
        """Whether an intervention that reaches these variables is answered with guidance."""
        return bool(self._touched(reached) & set(self.token_names)) and (self.guidance, self.guidance_rest) != (
            1.0,
            1.0,
        )

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        noise = {PRIMARY: normal((count, *self.state_shape()), generator, self.reference)}
        if CORRECTION in self.solver.parts:
            noise[CORRECTION] = torch.zeros_like(noise[PRIMARY])
        if self.semantic:
            noise[SEMANTIC] = normal((count, self.semantic), generator, self.reference)
        return noise

    def noise_log_prob(self, noise: Noise) -> Tensor:
        """log p of a noise under its prior, (N,), in nats: of `u`, and of the semantic latent; the solver's correction has none."""
        parts = [noise[name].flatten(1) for name in (PRIMARY, SEMANTIC) if name in noise]
        logs: Tensor = dist.Normal(0.0, 1.0).log_prob(torch.cat(parts, 1)).sum(1)
        return logs

    def posterior(self, value: Tensor, parents: Parents) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the semantic latent, (N, semantic) each."""
        assert self.encoder is not None
        mean, log_scale = self.encoder(value, self.context(parents, value)).chunk(2, dim=1)
        return mean, log_scale.clamp(-6, 2)

    def _inferred(self, value: Tensor, parents: Parents, generator: Generator) -> tuple[Tensor | None, Tensor]:
        """A draw of the semantic latent, None where there is none, and its divergence from the prior, (N,), in nats."""
        if self.encoder is None:
            return None, value.new_zeros(len(value))
        mean, log_scale = self.posterior(value, parents)
        drawn = mean + log_scale.exp() * normal(tuple(mean.shape), generator, mean)
        return drawn, normal_divergence(mean, log_scale)

    # --- training -------------------------------------------------------------------------------------------------

    def matching_loss(
        self, value: Tensor, parents: Parents, generator: Generator = None, *, noise: Tensor, time: Tensor
    ) -> Tensor:
        """Mean squared error of the prediction on the path between a value and a noise, (N,).

        Args:
            value: encoded, (N, ...).
            parents: encoded.
            generator: chance, of the conditions that are not told and of the semantic latent.
            noise: of the shape of the states, (N, *state_shape()).
            time: (N,).
        """
        value = self.standardised(value)
        if self.smoothing:
            value = value + self.smoothing * normal(tuple(value.shape), generator, value)
        semantic, divergence = self._inferred(value, parents, generator)
        phrase = None
        if self.grammar is not None:
            phrase = self.phrase(parents, uniform((len(value), self.grammar.choices), generator))
        told = self._dropped(value, generator)
        tokens = self.tokens(self.conditions(parents, value, semantic=semantic, phrase=phrase), told)
        predicted = self.network(self.path.at(value, noise, time), time, tokens)
        error: Tensor = (predicted - self.target(value, noise, time)).square().flatten(1).mean(1)
        return error + self.semantic_weight * divergence / value[0].numel()

    def _dropped(self, value: Tensor, generator: Generator) -> Tensor:
        """Which conditions are told in training, (N, tokens): each is kept back now and then, and all of them together as often."""
        count = len(self.token_names)
        drawn = uniform((len(value), count + 1), generator).to(value.device) >= self.dropout
        return drawn[:, :count] & drawn[:, count:]

    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        noise = normal((len(value), *self.state_shape()), generator, value)
        time = uniform((len(value),), generator).to(dtype=value.dtype, device=value.device)
        return self.matching_loss(value, parents, generator, noise=noise, time=time)

    # --- likelihood, attention, blocks ----------------------------------------------------------------------------

    def log_likelihood(
        self, value: Tensor, parents: Parents, *, generator: Generator = None, probes: int = 0
    ) -> Tensor:
        """log p(value | parents), (N,), in nats, by the change of variables along the ODE (Chen et al., NeurIPS 2018).

        Args:
            value: encoded, (N, ...).
            parents: encoded.
            generator: chance, of the probes.
            probes: random directions in which the divergence is measured (Hutchinson); 0 for all of them, exactly.

        Raises:
            ConfigError: for a mechanism with semantic abduction, which has no density of the value alone.
        """
        if self.encoder is not None:
            raise ConfigError(f"{self.variable.name}: with semantic abduction the density of a value is not known.")
        state = self.standardised(value)
        field = self._field(self.conditions(parents, value), value)
        change = value.new_zeros(len(value))
        times = self.solver.times
        for until, time in zip(times[-2::-1], times[:0:-1], strict=True):
            # Midpoint rule for state and divergence alike.
            half = (until - time) / 2
            middle = state + half * field(state, time)
            velocity, divergence = _with_divergence(field, middle, time + half, generator, probes)
            state, change = state + 2 * half * velocity, change - 2 * half * divergence
        logs = self.noise_log_prob({PRIMARY: state}) - change
        if isinstance(self.variable, Image):
            return logs
        # The density of the encoded value, not of its standardised logarithm.
        logs = logs - self.spread.log().sum()
        if self.logarithm:
            natural = self._decoded(value).clamp(min=TINY)
            slope = (self._decoded(torch.ones_like(value)) - self._decoded(-torch.ones_like(value))) / 2
            logs = logs + (slope.log() - natural.log()).sum(1)
        return logs

    def attention(
        self,
        value: Tensor,
        time: Tensor,
        parents: Parents,
        *,
        told: Tensor | None = None,
        phrase: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Where the network looks for each token, at states (N, ...) and times (N,): layer -> (N, heads, tokens, *sides).

        The tokens are those of :attr:`token_names`, of a field that is told a phrase its words alone; the weights of a position sum to 1 over them.

        Args:
            value: states on the path.
            time: 0 (noise) to 1 (data).
            parents: encoded.
            told: (N, tokens), which conditions the field is told; default: all.
            phrase: (N, length), numbers of words; default: the usual phrase about the parents.
        """
        with self.network.watched() as seen:
            self.velocity(value, time, parents, told=told, phrase=phrase)
        return {name: maps[0] for name, maps in seen.items()}

    def heard(
        self, value: Tensor, time: Tensor, parents: Parents, *, phrase: Tensor | None = None
    ) -> dict[str, Tensor]:
        """How much the network hears at every position, at states (N, ...) and times (N,): layer -> (N, *sides).

        The norm of what attention adds to the maps, less its mean over the positions: weights alone say nothing of what is heard there
        (Kobayashi et al., EMNLP 2020).

        Args:
            value: states on the path.
            time: 0 (noise) to 1 (data).
            parents: encoded.
            phrase: (N, length), numbers of words; default: the usual phrase about the parents.
        """
        with self.network.heard() as seen:
            self.velocity(value, time, parents, phrase=phrase)
        return {
            name: (added[0] - everywhere(added[0].flatten(2).mean(2), added[0])).norm(dim=1)
            for name, added in seen.items()
        }

    def blocks(self) -> Mapping[str, nn.Module]:
        """The parts that can be opened or frozen one by one: name -> module; together they hold every parameter once."""
        parts = {**self.network.parts(), "tokens": self.tokens}
        return parts if self.encoder is None else {**parts, "encoder": self.encoder}

    def head(self) -> nn.Module:
        """The part of the field that makes its output."""
        return list(self.network.parts().values())[-1]

    def pyro_sample(self, name: str, parents: Parents, count: int) -> Tensor:
        drawn: dict[str, Any] = {}
        for part, noise in self.sample_noise(count).items():
            zero = torch.zeros_like(noise)
            law = dist.Normal(zero, 1.0) if part in (PRIMARY, SEMANTIC) else dist.Delta(zero)
            drawn[part] = pyro.sample(f"{name}_{part}", law.to_event(noise.ndim - 1))
        value: Tensor = pyro.deterministic(name, self.variable.decode(self.generate(drawn, parents)))
        return value


def _spoken(grammar: Grammar | None, parents: Sequence[Variable]) -> frozenset[str]:
    """The parents that a grammar has words for.

    Raises:
        ConfigError: if it speaks of anything that is no parent, for then nobody could say what to tell.
    """
    spoken = frozenset() if grammar is None else frozenset(grammar.words)
    if strangers := spoken - {parent.name for parent in parents}:
        raise ConfigError(
            f"The grammar speaks of {sorted(strangers)[0]!r}, which is no parent of the image; phrases can tell parents alone."
        )
    return spoken


def _quantities(variable: Variable) -> tuple[Continuous, ...]:
    """The quantities that a variable consists of: itself, or the components of a vector; none of an image."""
    if isinstance(variable, Vector):
        return variable.components
    return (variable,) if isinstance(variable, Continuous) else ()


def _turns(variable: Variable) -> bool:
    """Whether a variable is an angle, of which networks should know that its ends meet."""
    return isinstance(variable, Continuous) and variable.periodic


def _with_divergence(
    field: Field, state: Tensor, time: float, generator: Generator, probes: int
) -> tuple[Tensor, Tensor]:
    """(velocity, its divergence (N,)) at a state."""
    with torch.enable_grad():
        state = state.detach().requires_grad_(True)
        velocity = field(state, time)
        flat = velocity.flatten(1)
        if probes:
            # Signs: of one number every direction is exact, and of many they vary less than normal draws.
            directions = [normal(tuple(state.shape), generator, state).sign() for _ in range(probes)]
        else:
            unit = torch.eye(flat.shape[1], dtype=state.dtype, device=state.device)
            directions = [row.expand_as(flat).view_as(state) for row in unit]
        total = state.new_zeros(len(state))
        for direction in directions:
            (pulled,) = torch.autograd.grad(velocity, state, direction, retain_graph=True)
            total = total + (pulled * direction).flatten(1).sum(1)
    return velocity.detach(), total / max(1, probes)
