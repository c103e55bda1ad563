"""An analytic brain: axial, skull-stripped slices whose volumes can be read off again.

The brain is one solid whose section is a superellipse. Its sections at all heights are scaled by the cube root of the brain's volume, and
the area of both lateral ventricles follows from their volume by the same power, so the area on a slice gives the volume back. Who
somebody is (:data:`TRAITS`) decides proportions, folding, tissue and a possible lesion; the scanner decides contrast, bias and noise.

Coordinates: x to the subject's left, y towards the back, the picture is [-1, 1] x [-1, 1], in units of about 90 mm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from counterbench.processes.canvas import Traits, band, blocks, boxes_of, cover, pieces, textures

TRAITS = (
    *(
        "aspect",
        "exponent",
        "tilt",
        "thickness",
        "folding",
        "fissure",
        "asymmetry",
        "spread",
        "length",
        "bend",
        "nuclei",
    ),
    *(f"wave_{part}_{number}" for number in range(7) for part in ("angle", "phase", "drift")),
    *("lesion_angle", "lesion_depth", "lesion_size"),
)
"""Who somebody is: independent numbers, uniform on [0, 1], the same at every visit."""

SHOT = ("shift_x", "shift_y", "bias_x", "bias_y", "bias_strength", "noise_which", "noise_row", "noise_column")
"""How one picture was taken: independent numbers, uniform on [0, 1]."""

SLICES = 10
"""Neighbouring slices around the centre of the brain, from the lowest to the highest."""

MEAN_BRAIN, MEAN_VENTRICLES = 1000.0, 40.0
"""Volumes, in millilitres, at which a section has its mean size."""

HALF_WIDTH, HALF_LENGTH = 0.64, 0.8
VENTRICLE_AREA = 0.09
"""Area of both ventricles on a slice at the mean volume, in squared coordinates."""

PARTS = ("background", "brain", "ventricles", "lesion")
"""What the numbers of :func:`parts` mean."""

CSF, GREY, WHITE = 0.3, 0.66, 0.92
"""Signal of the tissues."""


@dataclass(frozen=True)
class Scanner:
    """Contrast, bias field and noise of a scanner.

    Args:
        gain: of the signal.
        contrast: exponent of the signal; above 1, grey and white matter differ more.
        bias: strength of the smooth multiplicative field.
        noise: standard deviation of each channel of the Rician noise.
    """

    gain: float
    contrast: float
    bias: float
    noise: float


SCANNERS = (Scanner(0.9, 1.0, 0.05, 0.015), Scanner(0.82, 1.15, 0.09, 0.025), Scanner(0.98, 0.88, 0.03, 0.035))


def heights(slices: Tensor) -> Tensor:
    """Index of a slice -> its height, -1 (lowest) to 1."""
    return 2 * slices.double() / (SLICES - 1) - 1


def section(height: Tensor) -> Tensor:
    """Size of the brain's section at a height, relative to the widest."""
    return 1 - 0.045 * height - 0.03 * height.square()


def render(
    attributes: Mapping[str, Tensor], traits: Tensor, *, shot: Tensor, scanner: Tensor, lesion: Tensor, side: int = 64
) -> Tensor:
    """Draw slices.

    Args:
        attributes: (N,) each: `brain_volume` and `ventricular_volume` in millilitres, `slice` 0 .. 9.
        traits: (N, len(TRAITS)), in [0, 1].
        shot: (N, len(SHOT)), in [0, 1].
        scanner: (N,), number in :data:`SCANNERS`.
        lesion: (N,), 1 where there is one.
        side: of the pictures, in pixels.

    Returns:
        (N, 1, side, side), uint8.
    """
    return torch.cat(
        [
            _Slice(
                {name: value[rows] for name, value in attributes.items()}, traits[rows], shot[rows], lesion[rows], side
            ).scan(scanner[rows])
            for rows in blocks(len(traits), side)
        ]
    )


def parts(attributes: Mapping[str, Tensor], traits: Tensor, *, shot: Tensor, lesion: Tensor, side: int = 64) -> Tensor:
    """Which part of the picture every pixel mostly shows: (N, side, side), uint8, numbers of :data:`PARTS`."""
    return _Slice(attributes, traits, shot, lesion, side).parts()


def lesion_boxes(
    attributes: Mapping[str, Tensor], traits: Tensor, *, shot: Tensor, lesion: Tensor, side: int = 64
) -> Tensor:
    """(N, 4): left, top, right, bottom of the lesion in pixels, as far as it shows; NaN where there is none."""
    return _Slice(attributes, traits, shot, lesion, side).boxes()


class _Slice:
    """One batch of slices; maps are (N, side, side), scalars (N, 1, 1)."""

    def __init__(self, attributes: Mapping[str, Tensor], traits: Tensor, shot: Tensor, lesion: Tensor, side: int):
        self.side, self.t, self.shot = side, Traits(TRAITS, traits), Traits(SHOT, shot)
        self.height = heights(attributes["slice"]).float()[:, None, None]
        self.size = (attributes["brain_volume"].double() / MEAN_BRAIN).pow(1 / 3).float()[:, None, None]
        self.ventricular = (
            (attributes["ventricular_volume"].double() / MEAN_VENTRICLES).pow(2 / 3).float()[:, None, None]
        )
        self.has_lesion = lesion.float()[:, None, None]
        self.pixel = 2 / side
        at = (torch.arange(side) + 0.5) * self.pixel - 1
        x = at[None, None, :] - self.shot("shift_x", -0.03, 0.03)
        y = at[None, :, None] - self.shot("shift_y", -0.03, 0.03)
        tilt = self.t("tilt", -0.05, 0.05)
        self.x, self.y = x * tilt.cos() + y * tilt.sin(), y * tilt.cos() - x * tilt.sin()
        self._outline()
        self._ventricles()
        self._lesion()

    def _outline(self) -> None:
        """A superellipse of known area, whatever its proportions and exponent."""
        exponent, aspect = self.t("exponent", 2.0, 2.4), self.t("aspect", -0.06, 0.06).exp()
        quarter = (torch.lgamma(1 + 1 / exponent) * 2 - torch.lgamma(1 + 2 / exponent)).exp()
        same_area = (math.pi / 4 / quarter).sqrt()
        scale = self.size * section(self.height) * same_area
        self.across, self.along = HALF_WIDTH * aspect * scale, HALF_LENGTH / aspect * scale
        self.radius = ((self.x / self.across).abs().pow(exponent) + (self.y / self.along).abs().pow(exponent)).pow(
            1 / exponent
        )
        self.on_brain = cover((self.radius - 1) * self.across, self.pixel)

    def _ventricles(self) -> None:
        """Two bent tubes that bulge towards each other: horns far apart in low slices, long and nearly straight in high ones."""
        t, scale = self.t, self.size * section(self.height)
        centre = scale * (0.02 + 0.1 * self.height)
        length = scale * t("length", 0.4, 0.5)
        bend = 0.85 + t("bend", -0.1, 0.1) - 0.6 * self.height  # half the angle of the arc
        radius = length / (2 * bend)
        gap, lean = scale * t("spread", 0.035, 0.06), t("asymmetry", -0.12, 0.12)
        distances = []
        for side in (-1.0, 1.0):
            area = VENTRICLE_AREA / 2 * self.ventricular * (1 + side * lean)
            # A tube of half width w round any curve of length L that bends less than 1 / w covers 2 w L + pi w^2.
            half = ((length.square() + math.pi * area).sqrt() - length) / math.pi
            inwards = gap + half + radius - side * self.x  # from the centre of the circle
            down = self.y - centre
            angle = torch.atan2(down, inwards).clamp(-bend, bend)
            distances.append(
                ((inwards - radius * angle.cos()).square() + (down - radius * angle.sin()).square()).sqrt() - half
            )
        self.from_ventricles = torch.minimum(*distances)
        self.in_ventricles = cover(self.from_ventricles, self.pixel)

    def _lesion(self) -> None:
        """A focal lesion of the white matter, beside the ventricles."""
        angle, depth = self.t("lesion_angle", 0, 2 * math.pi), self.t("lesion_depth", 0.58, 0.75)
        size = self.t("lesion_size", 0.05, 0.1)
        x, y = self.x - depth * self.across * angle.cos(), self.y - depth * self.along * angle.sin()
        self.from_lesion = (x.square() + y.square()).sqrt() - size
        self.in_lesion = cover(self.from_lesion, self.pixel) * self.has_lesion * self.on_brain

    def _folding(self) -> Tensor:
        """Waves whose crests are gyri; they move with the brain and drift from slice to slice."""
        total = torch.zeros_like(self.radius)
        x, y = self.x / self.size, self.y / self.size
        for number in range(7):
            angle = self.t(f"wave_angle_{number}", 0, math.pi)
            phase = (
                self.t(f"wave_phase_{number}", 0, 2 * math.pi) + self.t(f"wave_drift_{number}", -1.5, 1.5) * self.height
            )
            pitch = self.t("folding", 12, 16) * (1 + 0.05 * number)
            total += (pitch * (angle.cos() * x + angle.sin() * y) + phase).sin()
        return total / math.sqrt(3.5)

    def _tissue(self) -> Tensor:
        """Signal of the brain before it is scanned."""
        depth = (1 - self.radius) * self.across
        folds = self._folding()
        ribbon = self.t("thickness", 0.065, 0.095)
        white = ((depth - ribbon - 0.1 * (1 - folds.abs()).clamp(min=0)) / 0.035 + 0.5).clamp(0, 1)
        signal = GREY + (WHITE - GREY) * white
        sulci = (1 - folds.abs() / 0.45).clamp(min=0) * band(depth, -0.1, 0.15, soft=0.06)
        signal = signal - 0.3 * sulci
        reach = self.t("fissure", 0.3, 0.42) - 0.1 * self.height
        fissure = cover(self.x.abs() - 0.012, self.pixel) * band(depth, -0.1, reach * self.across, soft=0.08)
        signal = signal - 0.24 * fissure
        return torch.lerp(signal, torch.full_like(signal, GREY + 0.03), self._nuclei())

    def _nuclei(self) -> Tensor:
        """Deep grey matter: two pairs of ellipses outside the ventricles."""
        nuclei = torch.zeros_like(self.radius)
        for x, y, wide, long, shown in ((0.33, -0.06, 0.05, 0.15, 1.0), (0.2, 0.1, 0.06, 0.09, 0.6)):
            scale = self.size * self.t("nuclei", 0.9, 1.1)
            radius = torch.sqrt(((self.x.abs() / scale - x) / wide).square() + ((self.y / scale - y) / long).square())
            fading = (0.75 - 0.45 * self.height).clamp(0, 1) * shown
            nuclei = torch.maximum(nuclei, fading * cover((radius - 1) * wide, self.pixel))
        return nuclei * (self.from_ventricles > 0.02)

    def scan(self, scanner: Tensor) -> Tensor:
        """The picture that a scanner makes of it."""
        signal = torch.lerp(self._tissue(), torch.full_like(self.radius, CSF), self.in_ventricles)
        # Dark as in T1-weighted pictures, brighter than the ventricles.
        signal = torch.lerp(signal, torch.full_like(signal, 0.47), self.in_lesion * (1 - self.in_ventricles))
        gain, contrast, bias, noise = (
            torch.tensor([getattr(one, name) for one in SCANNERS])[scanner][:, None, None]
            for name in ("gain", "contrast", "bias", "noise")
        )
        field = self.shot("bias_x", -1, 1) * self.x + self.shot("bias_y", -1, 1) * self.y
        signal = gain * (signal / WHITE).pow(contrast) * self.on_brain * (1 + bias * field)
        white, _, _ = textures(self.side)
        where = {name: self.shot(f"noise_{name}") for name in ("which", "row", "column")}
        opposite = {name: 1 - place for name, place in where.items()}
        real, imaginary = pieces(white, self.side, **where), pieces(white, self.side, **opposite)
        magnitude = ((signal + noise * real).square() + (noise * imaginary).square()).sqrt()
        return (240 * magnitude).round_().clamp_(0, 255).to(torch.uint8)[:, None]

    def parts(self) -> Tensor:
        label = (self.on_brain >= 0.5).to(torch.uint8)
        label[(self.in_lesion >= 0.5)] = 3
        label[(self.in_ventricles >= 0.5) & (self.on_brain >= 0.5)] = 2
        return label

    def boxes(self) -> Tensor:
        return boxes_of(self.parts() == 3)
