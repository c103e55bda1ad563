"""Parametric portraits: a face that follows from six attributes and from who it is.

Every shape is an implicit curve whose edge is one pixel soft, so a picture changes smoothly with whatever it follows from, and a
thousand pictures are a few hundred operations on whole batches. Who somebody is (:data:`TRAITS`) includes how a beard, a bald
head, a smile or glasses *would* look: so every counterfactual has exactly one true picture.

Coordinates: x to the right, y down, the picture is [-1, 1] x [-1, 1]; the face is drawn upright in coordinates of its own, into
which the pixels are turned, shifted and scaled.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from counterbench.processes.canvas import Traits, band, blocks, cover, pieces, textures

ATTRIBUTES = ("smiling", "eyeglasses", "young", "male", "no_beard", "bald")
"""What a portrait follows from, beside who it is; 0 or 1 each."""

TRAITS = (
    *("head_width", "head_height", "jaw", "ear"),
    *("skin", "skin_warmth", "hair_colour", "hair_shade", "grey"),
    *("hairline", "parting", "fringe", "long_hair", "short_hair", "volume", "strands", "strand_phase"),
    *("eye_distance", "eye_height", "eye_width", "eye_opening", "iris", "iris_size"),
    *("brow_height", "brow_arch", "brow_tilt", "brow_thickness"),
    *(
        "nose_length",
        "nose_width",
        "mouth_height",
        "mouth_width",
        "mouth_curve",
        "lip_upper",
        "lip_lower",
        "lip_colour",
    ),
    *("smile_width", "smile_lift", "smile_opening", "beard_density", "beard_shape", "beard_length"),
    *("glasses_width", "glasses_height", "glasses_roundness", "glasses_thickness", "glasses_colour", "glasses_tint"),
    *("wrinkles", "wrinkle_phase", "clothes_red", "clothes_green", "clothes_blue", "collar"),
    *("turn", "shift_x", "shift_y", "scale", "yaw", "pitch"),
    *("light_x", "light_strength", "brightness", "warmth"),
    *("back_red", "back_green", "back_blue", "back_slope", "back_turn", "back_blotches"),
    *("texture", "texture_row", "texture_column", "blotch_row", "blotch_column"),
)
"""Who somebody is, and how the picture was taken: independent numbers, uniform on [0, 1]."""

_SKIN = torch.tensor([[250, 222, 200], [240, 198, 168], [214, 164, 128], [172, 120, 86], [118, 78, 56], [76, 50, 40]])
_HAIR = torch.tensor([[26, 22, 22], [52, 34, 24], [92, 60, 36], [146, 98, 52], [206, 164, 96], [150, 66, 34]])
_IRIS = torch.tensor([[70, 44, 26], [96, 66, 36], [84, 104, 60], [70, 110, 150], [96, 120, 140]])
_FRAME = torch.tensor([[18, 18, 20], [70, 40, 24], [150, 116, 50], [120, 20, 30]])


def render(attributes: Mapping[str, Tensor], traits: Tensor, *, side: int = 64) -> Tensor:
    """Draw portraits.

    Args:
        attributes: (N,) each, 0 or 1, for every name of :data:`ATTRIBUTES`.
        traits: (N, len(TRAITS)), each in [0, 1].
        side: of the pictures, in pixels.

    Returns:
        (N, 3, side, side), uint8.
    """
    return torch.cat(
        [
            _Portrait({name: attributes[name][rows] for name in ATTRIBUTES}, traits[rows], side).draw()
            for rows in blocks(len(traits), side)
        ]
    )


def _palette(colours: Tensor, place: Tensor) -> Tensor:
    """Colours along a palette, smoothly; place (N, 1, 1) in [0, 1] -> (N, 3, 1, 1)."""
    at = place.flatten() * (len(colours) - 1)
    below = at.floor().long().clamp(max=len(colours) - 2)
    share = (at - below)[:, None]
    return torch.lerp(colours[below].float(), colours[below + 1].float(), share)[:, :, None, None]


def _grey_of(colour: Tensor) -> Tensor:
    return colour.mean(1, keepdim=True).expand_as(colour)


class _Portrait:
    """One batch of pictures on the way; shapes are (N, rows, side) maps of how much of a pixel they cover."""

    def __init__(self, attributes: Mapping[str, Tensor], traits: Tensor, side: int):
        self.side, self._t = side, Traits(TRAITS, traits)
        self.smile, self.glasses, self.young, self.male, no_beard, self.bald = (
            attributes[name].float()[:, None, None] for name in ATTRIBUTES
        )
        self.beard, self.old = 1 - no_beard, 1 - self.young
        self._measure()
        self._pose()

    # --- where everything is ------------------------------------------------------------------------------------------

    def _measure(self) -> None:
        """Sizes of the head and places of its parts, in coordinates of the face."""
        t, male, smile = self._t, self.male, self.smile
        self.half_width = t("head_width", 0.42, 0.51) + 0.02 * male
        self.half_height = t("head_height", 0.58, 0.67)
        self.taper = t("jaw", 0.2, 0.38) - 0.12 * male - 0.05 * self.old
        self.eye_x, self.eye_y = t("eye_distance", 0.17, 0.215), t("eye_height", -0.12, -0.05)
        self.eye_w = t("eye_width", 0.08, 0.105)
        self.eye_h = t("eye_opening", 0.04, 0.058) * (1 - 0.25 * smile) * (1 - 0.15 * self.old)
        self.nose_y = self.eye_y + t("nose_length", 0.24, 0.31)
        self.mouth_y = self.nose_y + t("mouth_height", 0.13, 0.18)
        self.mouth_w = t("mouth_width", 0.13, 0.18) * (1 + smile * t("smile_width", 0.2, 0.42))
        self.hair_colour = _palette(_HAIR, t("hair_colour")) * t("hair_shade", 0.75, 1.2)[:, None]
        pale = _grey_of(self.hair_colour) * 0.35 + 135
        self.hair_colour = torch.lerp(self.hair_colour, pale, (self.old * t("grey", 0.35, 0.95))[:, None])
        warm = torch.tensor([6.0, 0.0, -8.0])[:, None, None] * t("skin_warmth", -1, 1)[:, None]
        self.skin_colour = _palette(_SKIN, t("skin")) + warm
        self.skin_colour = torch.lerp(self.skin_colour, _grey_of(self.skin_colour), 0.12 * self.old[:, None])

    def _pose(self) -> None:
        """Coordinates of the pixels in the picture and in the upright face."""
        at = (torch.arange(self.side) + 0.5) * 2 / self.side - 1
        self.px, self.py = at[None, None, :], at[None, :, None]
        t = self._t
        turn, scale = t("turn", -0.16, 0.16), t("scale", 1.12, 1.32)
        x, y = self.px - t("shift_x", -0.08, 0.08), self.py - t("shift_y", -0.02, 0.12)
        self.x = (turn.cos() * x + turn.sin() * y) / scale
        self.y = (turn.cos() * y - turn.sin() * x) / scale
        self.soft = 2 / self.side / scale  # one pixel, in coordinates of the face
        # Where a turned head carries its features; the rim of the head stays.
        self.fx = self.x - t("yaw", -0.07, 0.07)
        self.fy = self.y - t("pitch", -0.03, 0.03)
        self.ax = self.fx.abs()

    def _rows(self, top: float, bottom: float) -> slice:
        """Rows of the picture that may show face coordinates between top and bottom."""
        reach = 0.4  # what turning, shifting and scaling may add
        first, last = ((edge + 1) / 2 * self.side for edge in (top - reach, bottom + reach))
        return slice(max(0, int(first)), min(self.side, int(last) + 1))

    def _cover(self, distance: Tensor) -> Tensor:
        """Signed distance in coordinates of the face -> covered share of the pixel."""
        return cover(distance, self.soft)

    def _paint(self, cover: Tensor, colour: Tensor, rows: slice = slice(None)) -> None:
        """Lay a colour, (N, 3, 1 or rows, 1 or side), over the picture."""
        part = self.picture[:, :, rows]
        part += cover[:, None] * (colour - part)

    def _shade(self, cover: Tensor, factor: Tensor | float, rows: slice = slice(None)) -> None:
        """Multiply what is there, where covered."""
        self.picture[:, :, rows] *= (1 + cover * (factor - 1))[:, None]

    # --- the layers, from the back to the front -----------------------------------------------------------------------

    def draw(self) -> Tensor:
        self._background()
        self._hair_behind()
        self._body()
        self._head()
        self._wrinkles()
        self._beard()
        self._nose()
        self._mouth()
        self._eyes()
        self._brows()
        self._hair()
        self._eyeglasses()
        self._camera()
        return self.picture.round_().clamp_(0, 255).to(torch.uint8)

    def _pieces(self, bank: Tensor, row: str, column: str) -> Tensor:
        """(N, side, side): a piece of a texture for everybody."""
        return pieces(bank, self.side, which=self._t("texture"), row=self._t(row), column=self._t(column))

    def _background(self) -> None:
        t = self._t
        colour = torch.cat([t(f"back_{name}", 40, 215) for name in ("red", "green", "blue")], 1)[..., None]
        colour = torch.lerp(colour, _grey_of(colour), 0.55)
        angle = t("back_turn", -3.14, 3.14)
        slope = t("back_slope", 0, 0.35) * (angle.cos() * self.px + angle.sin() * self.py)
        blotches = self._pieces(textures(self.side)[2], "blotch_row", "blotch_column")
        self.picture = colour * (1 + slope + t("back_blotches", 0.02, 0.16) * blotches)[:, None]

    def _strands(self, rows: slice = slice(None)) -> Tensor:
        """Light and dark of hair."""
        wave = self._t("strands", 22, 44) * (self.x[:, rows] + 0.3 * self.y[:, rows] * self._t("parting", -1, 1))
        grain = self._pieces(textures(self.side)[2], "texture_column", "blotch_row")[:, rows]
        return 1 + 0.07 * (wave + 2 * grain + self._t("strand_phase", 0, 6.28)).sin() + 0.06 * grain

    def _hair_behind(self) -> None:
        """Long hair falls behind face and shoulders."""
        t = self._t
        length = torch.lerp(t("long_hair", 0.1, 1.0), t("short_hair", -0.35, -0.1), self.male)
        wide = self.half_width + t("volume", 0.05, 0.16) + 0.08 * (self.y + 0.3).clamp(0, 1) * (1 - self.male)
        top = torch.sqrt((self.x / wide).square() + ((self.y + 0.05) / (self.half_height + 0.06)).square()) - 1
        sides = torch.maximum(self.x.abs() - wide, self.y - length)
        shape = torch.minimum(top * wide, torch.maximum(sides, -0.1 - self.y))
        shape = torch.maximum(shape, self.y - length)
        self._paint(self._cover(shape) * (1 - self.bald), 0.8 * self.hair_colour * self._strands()[:, None])

    def _body(self) -> None:
        rows = self._rows(0.45, 1.0)
        x, y = self.x[:, rows], self.y[:, rows]
        neck = torch.maximum(x.abs() - 0.2 - 0.05 * self.male, 0.3 - y)
        self._paint(self._cover(neck), 0.8 * self.skin_colour, rows)
        clothes = torch.cat([self._t(f"clothes_{name}", 20, 225) for name in ("red", "green", "blue")], 1)[..., None]
        hollow = 0.2 * (1 - (x / self._t("collar", 0.2, 0.32)).square()).clamp(min=0)
        shoulders = 0.86 + 0.3 * x.square() + hollow - y
        self._paint(self._cover(shoulders), clothes * (1.05 - 0.25 * x.abs())[:, None], rows)

    def _head(self) -> None:
        t = self._t
        down = (self.y / self.half_height).clamp(min=0)
        self.width_here = self.half_width * (1 - self.taper * down.square())
        self.radius = torch.sqrt((self.x / self.width_here).square() + (self.y / self.half_height).square())
        ears = torch.sqrt(
            ((self.x.abs() - self.half_width) / t("ear", 0.05, 0.085)).square() + ((self.y - 0.02) / 0.12).square()
        )
        self._paint(self._cover(0.06 * (ears - 1)), 0.86 * self.skin_colour)
        self.on_head = self._cover((self.radius - 1) * self.half_width)
        side = t("light_x", -1, 1) * t("light_strength", 0.08, 0.3) * self.x / self.half_width
        light = 1.04 + side - 0.08 * self.y - 0.2 * self.radius.square().square().clamp(max=1.5)
        self._paint(self.on_head, self.skin_colour * light[:, None])
        rows = self._rows(0.0, 0.4)
        cheeks = ((self.ax[:, rows] - 0.27) / 0.13).square() + ((self.fy[:, rows] - 0.17) / 0.1).square()
        blush = torch.tensor([1.04, 0.9, 0.9])[:, None, None]
        warm = (0.35 + 0.5 * self.smile) * (-cheeks).exp()
        self.picture[:, :, rows] *= 1 + warm[:, None] * (blush - 1)

    def _wrinkles(self) -> None:
        """Lines of the forehead, below the eyes, and beside the nose, where a smile folds the skin too."""
        rows = self._rows(-0.5, 0.55)
        x, y = self.ax[:, rows], self.fy[:, rows]
        deep = self.old * self._t("wrinkles", 0.5, 1.0)
        phase = self._t("wrinkle_phase", 0, 6.28)
        waves = (54 * y + 1.2 * (5 * self.fx[:, rows] + phase).sin() + phase).sin().clamp(min=0.35) - 0.35
        forehead = waves * band(y, self.eye_y - 0.34, self.eye_y - 0.17) * band(x, -1, 0.26)
        bag = self._line(y - self.eye_y - 0.085 + 1.6 * (x - self.eye_x).square(), 0.014) * band(
            x, self.eye_x - 0.09, self.eye_x + 0.08
        )
        fold_x = 0.085 + 0.42 * (y - self.nose_y + 0.02)
        fold = self._line(x - fold_x, 0.014) * band(y, self.nose_y - 0.01, self.mouth_y + 0.03)
        strength = 0.4 * deep * forehead + 0.34 * deep * bag + (0.38 * deep + 0.16 * self.smile).clamp(max=0.45) * fold
        self._shade(strength.clamp(max=0.6), 0.45, rows)

    def _beard(self) -> None:
        """Hair of the lower face: full or round the mouth, with a moustache, a little longer than the chin."""
        rows = self._rows(-0.1, 0.85)
        t, x, y = self._t, self.x[:, rows], self.y[:, rows]
        longer = (self.radius[:, rows] - 1) * self.half_width - t("beard_length", 0.0, 0.07) * (y > 0.3)
        edge = torch.lerp(self.half_width * 0.55, self.half_width * 1.15, t("beard_shape"))
        line = self.mouth_y + 0.03 - 1.0 * (x.abs() / self.half_width).clamp(max=1).pow(3) * t("beard_shape", 0.1, 0.75)
        chin = torch.maximum(torch.maximum(longer, line - y), x.abs() - edge)
        upper = self.ax[:, rows] - 1.15 * self.mouth_w
        moustache = torch.maximum(upper, (self.fy[:, rows] - (self.nose_y + self.mouth_y) / 2 - 0.025).abs() - 0.045)
        cover = torch.maximum(self._cover(chin), self._cover(moustache)) * self.beard * t("beard_density", 0.68, 0.95)
        # Darker than the hair of the head, and darker than the skin: a beard shows, whatever its colour.
        self._shade(cover, 0.75, rows)
        self._paint(0.85 * cover, 0.62 * self.hair_colour * self._strands(rows)[:, None], rows)

    def _nose(self) -> None:
        rows = self._rows(-0.1, 0.3)
        x, y, wide = self.fx[:, rows], self.fy[:, rows], self._t("nose_width", 0.055, 0.085) + 0.01 * self.male
        side = torch.where(self._t("light_x", -1, 1) > 0, -1.0, 1.0)
        along = band(y, self.eye_y + 0.02, self.nose_y - 0.02)
        self._shade(self._line(x * side - 0.035 - 0.12 * (y - self.eye_y), 0.02) * along * 0.28, 0.5, rows)
        self._shade(self._line(x * side + 0.005, 0.02) * along * 0.3, 1.2, rows)
        under = self._line(y - self.nose_y + 1.5 * x.square(), 0.014) * band(self.ax[:, rows], -1, wide)
        nostrils = ((self.ax[:, rows] - 0.55 * wide) / 0.022).square() + ((y - self.nose_y + 0.012) / 0.014).square()
        self._shade(torch.maximum(0.4 * under, 0.6 * (1 - nostrils).clamp(0, 1)), 0.35, rows)

    def _mouth(self) -> None:
        rows = self._rows(0.15, 0.6)
        t, x, y = self._t, self.fx[:, rows], self.fy[:, rows]
        along = (x / self.mouth_w).square()
        full = (1 - along).clamp(min=0)
        lift = t("mouth_curve", -0.012, 0.016) + self.smile * t("smile_lift", 0.05, 0.085)
        off = y - self.mouth_y + lift * (along - 0.4)
        opening = self.smile * t("smile_opening", 0.014, 0.042) * full.sqrt()
        upper, lower = t("lip_upper", 0.018, 0.032) * full, t("lip_lower", 0.024, 0.042) * full
        lips = torch.maximum(off - lower - opening, -off - upper - opening)
        lips = torch.maximum(lips, x.abs() - self.mouth_w)
        red = torch.tensor([[178.0, 84.0, 82.0]])[..., None, None]
        strength = t("lip_colour", 0.3, 0.75) * (1 - 0.45 * self.male)
        self._paint(self._cover(lips), torch.lerp(0.82 * self.skin_colour, red, strength[:, None]), rows)
        inside = torch.maximum(off.abs() - opening, x.abs() - 0.94 * self.mouth_w)
        teeth = torch.tensor([[238.0, 234.0, 224.0]])[..., None, None]
        self._paint(self._cover(inside) * self.smile, teeth, rows)
        closed = self._line(off, 0.011) * (1.08 - along).clamp(0, 1).sqrt()
        self._shade(closed * (0.75 - 0.6 * self.smile), 0.35, rows)

    def _eyes(self) -> None:
        rows = self._rows(-0.25, 0.1)
        x, y = self.ax[:, rows] - self.eye_x, self.fy[:, rows] - self.eye_y
        squint = y + 0.3 * self.smile * self.eye_h * (1 - (x / self.eye_w).square())
        radius = torch.sqrt((x / self.eye_w).square() + (squint / self.eye_h).square())
        socket = ((x / (1.7 * self.eye_w)).square() + (y / 0.1).square()).neg().exp()
        self._shade(0.16 * socket, 0.55, rows)
        eye = self._cover((radius - 1) * self.eye_h)
        self._paint(
            eye, torch.tensor([[238.0, 236.0, 234.0]])[..., None, None] * (0.93 + 0.07 * self.young)[:, None], rows
        )
        centre = torch.sqrt(x.square() + y.square())
        size = self._t("iris_size", 0.036, 0.046)
        self._paint(eye * self._cover(centre - size), _palette(_IRIS, self._t("iris")), rows)
        self._paint(eye * self._cover(centre - 0.45 * size), torch.tensor([[14.0, 12.0, 12.0]])[..., None, None], rows)
        glint = torch.sqrt((x + 0.014).square() + (y + 0.014).square())
        self._paint(eye * self._cover(glint - 0.008), torch.tensor([[250.0, 250.0, 250.0]])[..., None, None], rows)
        lashes = 0.6 + 0.35 * (1 - self.male)
        lid = self._line((radius - 1) * self.eye_h, 0.016) * (squint < 0)
        self._shade(lid * lashes, 0.22, rows)

    def _brows(self) -> None:
        rows = self._rows(-0.4, 0.0)
        t, x = self._t, (self.ax[:, rows] - self.eye_x) / (1.35 * self.eye_w)
        middle = self.eye_y - t("brow_height", 0.105, 0.14) - 0.01 * self.smile
        curve = t("brow_arch", 0.0, 0.035) * x.square() + t("brow_tilt", -0.02, 0.02) * x
        thick = (t("brow_thickness", 0.009, 0.016) + 0.008 * self.male) * (1.15 - 0.45 * x.square()).clamp(min=0)
        shape = torch.maximum((self.fy[:, rows] - middle - curve).abs() - thick, (x.abs() - 1) * 0.1)
        self._paint(0.85 * self._cover(shape), 0.75 * self.hair_colour, rows)

    def _hair(self) -> None:
        """Hair on the head, down to a hairline; a bald head keeps a rim above the ears."""
        rows = self._rows(-0.9, 0.25)
        t, x, y = self._t, self.x[:, rows], self.y[:, rows]
        wide, high = self.half_width + t("volume", 0.02, 0.08), self.half_height + t("volume", 0.03, 0.12)
        cap = (torch.sqrt((x / wide).square() + (y / high).square()) - 1) * wide
        across = (x / self.half_width).abs()
        receding = self.old * self.male * 0.07
        line = -self.half_height * t("hairline", 0.52, 0.72) - receding + t("fringe", -0.02, 0.12) * (1 - self.male)
        line = line + t("parting", -0.16, 0.16) * x + 0.62 * across.clamp(max=1.2).pow(4) * t("short_hair", 0.6, 0.85)
        full = torch.maximum(cap, y - line)
        rim = torch.maximum(torch.maximum(cap + 0.05, 0.86 - across), (y + 0.12).abs() - 0.16)
        strands = self.hair_colour * self._strands(rows)[:, None] * (1.12 - 0.35 * (y + 0.9).clamp(0, 1))[:, None]
        self._paint(self._cover(full) * (1 - self.bald), strands, rows)
        self._paint(0.8 * self._cover(rim) * self.bald, strands, rows)
        shine = ((x - 0.12 * t("light_x", -1, 1)) / 0.2).square() + ((y + 0.46) / 0.09).square()
        self._shade(0.8 * (-shine).exp() * self.bald, 1.2, rows)

    def _eyeglasses(self) -> None:
        rows = self._rows(-0.25, 0.12)
        t, x, y = self._t, self.ax[:, rows], self.fy[:, rows] - self.eye_y - 0.01
        wide, high = self.eye_x * t("glasses_width", 0.74, 0.86), t("glasses_height", 0.085, 0.125)
        thick, power = t("glasses_thickness", 0.011, 0.024), t("glasses_roundness", 2.0, 4.0)
        lens = ((x - self.eye_x).abs() / wide).pow(power) + (y.abs() / high).pow(power)
        off = (lens.clamp(min=1e-6).pow(1 / power) - 1) * high
        bridge = torch.maximum((y + 0.02).abs() - thick, x - (self.eye_x - wide))
        temple = torch.maximum((y + 0.03).abs() - thick, torch.maximum(self.eye_x + wide - x, x - self.half_width))
        frame = torch.minimum(torch.minimum(off.abs() - thick, bridge), temple)
        self._shade(self._cover(off) * self.glasses * t("glasses_tint", 0.0, 0.5), 0.55, rows)
        self._paint(self._cover(frame) * self.glasses, _palette(_FRAME, t("glasses_colour")), rows)

    def _camera(self) -> None:
        """The light of the whole picture, and its grain."""
        tint = torch.tensor([0.06, 0.0, -0.06])[:, None, None] * self._t("warmth", -1, 1)[:, None]
        self.picture *= self._t("brightness", 0.82, 1.12)[:, None] * (1 + tint)
        self.picture += 3.0 * self._pieces(textures(self.side)[1], "texture_row", "texture_column")[:, None]

    # --- strokes ------------------------------------------------------------------------------------------------------

    def _line(self, off: Tensor, half: float) -> Tensor:
        """A soft stroke where `off` is near zero."""
        return self._cover(off.abs() - half)
