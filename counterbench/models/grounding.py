"""Phrase grounding: where in an image a generative ODE that reads phrases looks for the words of one.

The image is inverted by following the field that is told nothing, from data to noise. On the way, in a window of times, the network is asked
once more with the phrase, and where it looks for each word is kept. Maps are averaged over time within a layer, scaled from 0 to 1 word by
word, brought to the size of the image, averaged over layers and words, smoothed, and cut by Otsu's threshold (Vilouras et al. 2024).
Nobody trains for it, but the model was trained on such captions of such images, without boxes: this is training-free grounding of the
evaluated mechanism, not zero-shot grounding by a foundation model.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from counterbench.errors import ConfigError, short, suggestion
from counterbench.mechanisms.capabilities import ReadsPhrases
from counterbench.models.scm import StructuralCausalModel
from counterbench.runtime.blocks import at_once

Reading = Literal["weights", "heard", "prediction"]
_SPREAD = 0.1
"""Standard deviation of weights that are drawn anew and belong to no layer of torch's."""
_LEVELS = 256
"""Of the histogram that Otsu's threshold is found in."""


@dataclass(frozen=True)
class Rule:
    """How attention becomes a heat map. The defaults are those of Vilouras et al. (2024), as published with their code.

    Args:
        steps: of the inversion, from data to noise.
        window: times between which attention is read, 0 noise to 1 data.
        layers: names of the attention layers that count; None for all of the network's.
        words: which words of a phrase count: all of them, or those that name its subject, as the grammar says.
        reads: what is read: `weights` of the attention to the words; `heard`, the norm of what attention adds there for the whole phrase
            (Kobayashi et al. 2020); or `prediction`, how much the predicted velocity changes when the phrase is kept back (after Couairon et
            al., ICLR 2023).
        smoothing: standard deviation of the Gaussian, in 64ths of the image's side.
        cut: whether what is below Otsu's threshold becomes 0.
    """

    steps: int = 300
    window: tuple[float, float] = (0.4, 0.6)
    layers: tuple[str, ...] | None = None
    words: Literal["all", "subject"] = "all"
    reads: Reading = "weights"
    smoothing: float = 2.5
    cut: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.smoothing <= 64 or not 0 <= self.window[0] < self.window[1] <= 1:
            raise ConfigError(
                f"Grounding with {self.steps} steps, the window {self.window} and a smoothing of {self.smoothing} is not possible: at least one "
                "step, a window within 0 to 1, a smoothing from 0 to 64."
            )
        if self.words != "all" and self.reads != "weights":
            raise ConfigError(
                f"Only weights of attention belong to single words; leave out the words {self.words!r}, or read weights."
            )
        if self.layers and self.reads == "prediction":
            raise ConfigError(
                "A change of the prediction belongs to no layer; leave out the layers, or read weights or heard."
            )


def reader_of(scm: StructuralCausalModel, image: str) -> ReadsPhrases | None:
    """The mechanism of the image, if it reads phrases."""
    if image not in scm.mechanisms:
        return None
    mechanism = scm.mechanisms[image]
    return mechanism if isinstance(mechanism, ReadsPhrases) and mechanism.grammar is not None else None


def ground(
    scm: StructuralCausalModel,
    values: Mapping[str, Tensor],
    phrases: Sequence[str],
    *,
    image: str,
    rule: Rule | None = None,
) -> Tensor:
    """Where a model looks for phrases.

    Args:
        scm: a model whose image mechanism reads phrases.
        values: natural values of all variables, (N, ...) each.
        phrases: N of them.
        image: name of the image variable.
        rule: how attention becomes a map; None for the published rule.

    Returns:
        (N, *sides), float64, from 0 to 1.

    Raises:
        ConfigError: for a model that reads no phrases, a word that its grammar does not know, or a layer that there is not.
    """
    rule, mechanism = rule or Rule(), reader_of(scm, image)
    if mechanism is None or mechanism.grammar is None:
        raise ConfigError(
            "This model reads no phrases; give one whose image mechanism has the option `phrases: true`, such as flow-matching of "
            "morphomnist-lesions."
        )
    words = mechanism.grammar.tokens(phrases)
    encoded = {
        name: scm.variables[name].encode(value, scm.reference.dtype).to(scm.reference.device)
        for name, value in values.items()
    }
    size = at_once(encoded[image][0].numel(), len(phrases), room=1 << 18)
    with torch.no_grad():
        maps = [
            _heat(
                mechanism, {name: value[rows] for name, value in encoded.items()}, words[rows], image=image, rule=rule
            )
            for rows in torch.arange(len(phrases)).split(size)
        ]
    return torch.cat(maps)


def forgetful(scm: StructuralCausalModel, image: str) -> StructuralCausalModel:
    """The same model with the image's network as it might have been before its training: every weight is drawn anew, always the same way.

    Args:
        scm: a model.
        image: name of the image variable.
    """
    device = scm.reference.device
    fresh = copy.deepcopy(scm).cpu()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for part in fresh.mechanisms[image].modules():
            if isinstance(part, Resettable):
                part.reset_parameters()
            else:  # what a layer draws by itself: places, words, projections of attention
                for weight in part.parameters(recurse=False):
                    weight.normal_(0, _SPREAD)
    return fresh.to(device)


@runtime_checkable
class Resettable(Protocol):
    """A layer that can be made new."""

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        ...


def _heat(mechanism: ReadsPhrases, encoded: Mapping[str, Tensor], words: Tensor, *, image: str, rule: Rule) -> Tensor:
    state, names = mechanism.standardised(encoded[image]), mechanism.token_names
    nothing = torch.zeros(len(state), len(names), dtype=torch.bool, device=state.device)
    kept: dict[str, Tensor] = {}
    for step in range(rule.steps, 0, -1):
        at = step / rule.steps
        if at < rule.window[0]:
            break
        time = state.new_full((len(state),), at)
        if at <= rule.window[1]:
            for layer, maps in _read(mechanism, state, time, encoded, words, rule).items():
                kept[layer] = kept[layer] + maps.cpu() if layer in kept else maps.cpu()
        state = state - mechanism.velocity(state, time, encoded, told=nothing) / rule.steps
    if not kept:
        raise ConfigError(f"No step of {rule.steps} lies in the window {rule.window}; take more steps.")
    sides = tuple(encoded[image].shape[2:])
    weight = _weights(mechanism, words, rule)
    total = torch.zeros(len(state), *sides, dtype=torch.float64)
    for maps in kept.values():
        by_word = _scaled(maps.double().flatten(2)).view_as(maps)
        mode = "bilinear" if len(sides) == 2 else "trilinear"
        large = functional.interpolate(by_word, sides, mode=mode, align_corners=False)
        total += (large * weight.reshape(*weight.shape, *[1] * len(sides))).sum(1) / len(kept)
    return finished(total, rule)


def _read(
    mechanism: ReadsPhrases, state: Tensor, time: Tensor, encoded: Mapping[str, Tensor], words: Tensor, rule: Rule
) -> dict[str, Tensor]:
    """Layer -> (N, words or 1, *sides)."""
    if rule.reads == "prediction":
        without = torch.zeros_like(words)
        there, elsewhere = (mechanism.velocity(state, time, encoded, phrase=phrase) for phrase in (words, without))
        return {"prediction": (there - elsewhere).abs().mean(1, keepdim=True)}
    if rule.reads == "heard":
        heard = mechanism.heard(state, time, encoded, phrase=words)
        return {layer: heard[layer][:, None] for layer in _layers(heard, rule.layers)}
    seen = mechanism.attention(state, time, encoded, phrase=words)
    return {layer: seen[layer].mean(1)[:, -words.shape[1] :] for layer in _layers(seen, rule.layers)}


def _weights(mechanism: ReadsPhrases, words: Tensor, rule: Rule) -> Tensor:
    """How much the map of each word counts, (N, words), or (N, 1) where there is one for the whole phrase."""
    if rule.reads != "weights":
        return torch.ones(len(words), 1)
    assert mechanism.grammar is not None
    counts = mechanism.grammar.counts(words, rule.words).double()
    return counts / counts.sum(1, keepdim=True).clamp(min=1)


def finished(maps: Tensor, rule: Rule) -> Tensor:
    """Averaged maps (N, *sides) smoothed, scaled from 0 to 1, and cut.

    Args:
        maps: (N, *sides).
        rule: says how.

    Examples:
        >>> finished(torch.tensor([[[0.0, 0.1], [0.2, 1.0]]]), Rule(smoothing=0)).tolist()
        [[[0.0, 0.0], [0.0, 1.0]]]
    """
    sigma = rule.smoothing * maps.shape[-1] / 64
    smooth = ndimage.gaussian_filter(maps.double().numpy(), (0, *[sigma] * (maps.ndim - 1)))
    flat = _scaled(torch.from_numpy(smooth).flatten(1))
    if rule.cut:
        flat = torch.where(flat > otsu(flat)[:, None], flat, 0.0)
    return flat.view_as(maps)


def otsu(maps: Tensor) -> Tensor:
    """The threshold that divides the numbers of each row into two classes that differ most (Otsu 1979).

    Args:
        maps: (N, P), from 0 to 1.

    Returns:
        (N,), float64.

    Examples:
        >>> 0.1 <= float(otsu(torch.tensor([[0.0, 0.1, 0.9, 1.0]]))) < 0.9
        True
    """
    bins = (maps.double() * (_LEVELS - 1)).round().long()
    counts = torch.zeros(len(maps), _LEVELS, dtype=torch.float64).scatter_add_(1, bins, torch.ones_like(maps).double())
    levels = torch.arange(_LEVELS, dtype=torch.float64)
    below, total = counts.cumsum(1), counts.sum(1, keepdim=True)
    mass = (counts * levels).cumsum(1)
    above = total - below
    difference = mass / below.clamp(min=1) - (mass[:, -1:] - mass) / above.clamp(min=1)
    between = below * above * difference.square()
    return (between.argmax(1).double() + 0.5) / (_LEVELS - 1)


def _scaled(flat: Tensor) -> Tensor:
    """The last axis from 0 to 1; 0 where it is constant."""
    low, high = flat.amin(-1, keepdim=True), flat.amax(-1, keepdim=True)
    return (flat - low) / (high - low).clamp(min=1e-12)


def _layers(seen: Mapping[str, Tensor], wanted: tuple[str, ...] | None) -> list[str]:
    """The layers that count."""
    if not seen:
        raise ConfigError("This network has no attention layers; give it some by the option `attention`.")
    if wanted is None:
        return list(seen)
    for name in wanted:
        if name not in seen:
            raise ConfigError(f"There is no attention layer {short(name)}.{suggestion(name, seen)}")
    return list(wanted)
