"""Brains from real anatomy: slices and volumes made of the MNI ICBM152 template, whose volumes are known.

A subject is the template seen through maps that are one to one. From the picture inwards: position and rotation; a scale; shears along
the three axes by sums of sines, which change the shape of everything and the volume of nothing; the ventricular flow and the sulcal
shift of :mod:`counterbench.processes.anatomy`. Because only the last two and the scale change volumes, the volumes are those of the
tables times the scale cubed: the flow's time is where the ratio of both volumes is right, the scale makes the brain's volume right. How
wide sulci are follows from the brain's volume and from who it is. Tissues get a subject's contrasts, scanners add theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from counterbench.processes.anatomy import MAPS, SHIFTS, Anatomy, anatomy, times_of_tables
from counterbench.processes.canvas import Traits, boxes_of
from counterbench.processes.phantom import PARTS, SCANNERS

__all__ = [
    "PARTS",
    "PARTS_OF_HALVES",
    "REGIONS",
    "SCANNERS",
    "SHOT",
    "SIDES",
    "TRAITS",
    "LesionPlace",
    "clean",
    "columns",
    "lesion_boxes",
    "parts",
    "render",
    "volumes",
]

_LENGTHS = (130.0, 62.0, 38.0)
_HEIGHTS = (2.6, 1.2, 0.5)
"""Of the waves of a shear, in mm: their lengths, and how far they move a point at most; along z half as far."""
_ROUNDS = 2

TRAITS = (
    *("aspect", "depth", "sulci", "grey", "white", "fluid", "t1", "lesion_site", "lesion_size"),
    *(
        f"shear_{turn}_{axis}_{wave}_{number}"
        for turn in range(_ROUNDS)
        for axis in "zyx"
        for wave in range(len(_LENGTHS))
        for number in ("angle", "phase", "size")
    ),
)
"""Who somebody is: independent numbers, uniform on [0, 1], the same at every visit."""

SHOT = (
    *("shift_x", "shift_y", "shift_z", "roll", "nod", "bias_x", "bias_y", "bias_z", "noise"),
    *("bias_xx", "bias_yy", "bias_xy"),
)
"""How one picture was taken: independent numbers, uniform on [0, 1]; `noise` is the seed of its noise."""

SLICES = 10
LOWEST, APART = 2.0, 3.0
"""Height of the lowest slice in the template and the distance of slices, in mm."""
FIELD, CUBE = 180.0, 192.0
"""Side of a slice and of a volume, in mm."""
CENTRE = (5.0, -17.0, 0.0)
"""What lies in the middle of a volume, (z, y, x) in the template, in mm."""

WHITE, GREY, FLUID, LESION = 0.92, 0.68, 0.27, 0.5
"""Signal of the tissues."""


SIDES = ("left", "right")
PARTS_OF_HALVES = ("background", *SIDES, "ventricles", "lesion")
"""Parts of a picture where the hemispheres, which the middle of the template divides, are parts of their own."""
REGIONS = ("frontal", "central", "posterior")
_BORDERS = (11.0, -34.0)
"""Between the regions, from the front, in mm."""
_COLUMN = 0.8
"""Share of the heights of slices at which a column must lie in white matter."""


@dataclass(frozen=True)
class LesionPlace:
    """Where lesions lie that run through all slices.

    Args:
        points: (N, 2), y and x in the template, in mm.
        radius: (N,), in mm.
    """

    points: Tensor
    radius: Tensor

    def take(self, rows: slice) -> LesionPlace:
        """Those of some heads."""
        return LesionPlace(self.points[rows], self.radius[rows])


@cache
def columns() -> dict[tuple[str, str], Tensor]:
    """Where a lesion can run through all slices: (side, region) -> (M, 2), y and x in the template, in mm, in white matter at nearly all heights."""
    grid = anatomy().whole
    heights = LOWEST + APART * torch.arange(SLICES)
    y, x = torch.arange(-86.0, 60.0, 2.0), torch.arange(-60.0, 61.0, 2.0)
    points = torch.stack(torch.meshgrid(heights, y, x, indexing="ij"), -1)
    white = grid.at(points[None])[0, MAPS.index("white")]
    there = (white > 0.6).float().mean(0) >= _COLUMN
    places = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1)[there]
    region = (places[:, :1] < torch.tensor(_BORDERS)).sum(1)
    return {
        (side, name): places[(region == number) & ((places[:, 1] < 0) == (side == "left"))]
        for side in SIDES
        for number, name in enumerate(REGIONS)
    }


def render(
    attributes: Mapping[str, Tensor],
    traits: Tensor,
    *,
    shot: Tensor,
    scanner: Tensor,
    lesion: Tensor,
    place: LesionPlace | None = None,
    spatial: Sequence[int] = (64, 64),
) -> Tensor:
    """Take pictures: slices, or volumes.

    Args:
        attributes: (N,) each: `brain_volume` and `ventricular_volume` in millilitres; of slices `slice`, 0 .. 9.
        traits: (N, len(TRAITS)), in [0, 1].
        shot: (N, len(SHOT)), in [0, 1].
        scanner: (N,), number in :data:`SCANNERS`.
        lesion: (N,), 1 where there is one.
        place: of the lesions; None for a ball where the traits say.
        spatial: (height, width) of slices, or (depth, height, width) of volumes, in pixels.

    Returns:
        (N, 1, *spatial), uint8; up is the front, left is x below zero, and the first plane of a volume the lowest.
    """
    heads = _heads(attributes, traits, shot=shot, lesion=lesion, place=place, spatial=spatial)
    return torch.cat([head.scan(scanner[rows]) for rows, head in heads])


def clean(
    attributes: Mapping[str, Tensor], traits: Tensor, *, shot: Tensor, lesion: Tensor, spatial: Sequence[int] = (64, 64)
) -> Tensor:
    """What a perfect scanner would see, (N, 1, *spatial), uint8: the tissues' signal, without a field and without noise."""
    heads = _heads(attributes, traits, shot=shot, lesion=lesion, spatial=spatial)
    return (240 * torch.cat([head.signal() for _, head in heads])).round_().clamp_(0, 255).to(torch.uint8)[:, None]


def parts(
    attributes: Mapping[str, Tensor],
    traits: Tensor,
    *,
    shot: Tensor,
    lesion: Tensor,
    place: LesionPlace | None = None,
    spatial: Sequence[int] = (64, 64),
    halves: bool = False,
) -> Tensor:
    """Which part every pixel mostly shows: (N, *spatial), uint8, numbers of :data:`PARTS`, or with `halves` of :data:`PARTS_OF_HALVES`."""
    heads = _heads(attributes, traits, shot=shot, lesion=lesion, place=place, spatial=spatial)
    return torch.cat([head.parts(halves) for _, head in heads])


def lesion_boxes(
    attributes: Mapping[str, Tensor], traits: Tensor, *, shot: Tensor, lesion: Tensor, side: int = 64
) -> Tensor:
    """(N, 4): left, top, right, bottom of a slice's lesion in pixels, as far as it shows; NaN where there is none."""
    shown = parts(attributes, traits, shot=shot, lesion=lesion, spatial=(side, side)) == PARTS.index("lesion")
    return boxes_of(shown)


def volumes(attributes: Mapping[str, Tensor], traits: Tensor, *, shot: Tensor, side: int = 96) -> Tensor:
    """(N, 2): the volumes of brain and lateral ventricles, in mL, integrated over the tissue maps of a volume of side^3 voxels."""
    none, found = torch.zeros(len(traits), dtype=torch.long), []
    for _, head in _heads(attributes, traits, shot=shot, lesion=none, spatial=(side,) * 3):
        maps = head.maps
        voxel = (CUBE / side) ** 3 / 1000
        brain, ventricles = maps["grey"] + maps["white"], maps["ventricles"]
        found.append(torch.stack([part.double().flatten(1).sum(1) * voxel for part in (brain, ventricles)], 1))
    return torch.cat(found).float()


@dataclass(frozen=True)
class Deformation:
    """What makes the volumes of a brain what they are, (N,) each.

    Args:
        scale: of all lengths.
        time: of the ventricular flow.
        shift: of the sulci.
    """

    scale: Tensor
    time: Tensor
    shift: Tensor


def deformation_of(
    brain: Tensor, ventricles: Tensor, trait: Tensor, template: Anatomy, *, level: int = 0
) -> Deformation:
    """The deformation that gives a brain its volumes.

    Args:
        brain, ventricles: (N,), volumes in mL.
        trait: (N,), in [0, 1]: how wide somebody's sulci are for the volume of the brain.
        template: whose tables say what volumes are.
        level: of the maps that are drawn.
    """
    small = (1000 - brain.double()) / 150 + 3 * (trait.double() - 0.5)
    shift = 2.2 + 2.8 * torch.tanh(small / 2.8)  # between the ends of what the tables know
    of_time = [_between(table[level].double(), shift) for table in (template.brain, template.ventricles)]
    times = times_of_tables().double()
    ratio = (of_time[1] / of_time[0]).log()
    asked = (ventricles.double() / brain.double()).clamp(min=1e-9).log()
    place = (torch.searchsorted(ratio, asked[:, None])[:, 0] - 1).clamp(0, len(times) - 2)
    low, high = (ratio.gather(1, at[:, None])[:, 0] for at in (place, place + 1))
    share = ((asked - low) / (high - low)).clamp(0, 1)
    before, after = (of_time[0].gather(1, at[:, None])[:, 0] for at in (place, place + 1))
    tissue = torch.lerp(before, after, share)
    return Deformation(
        (brain / tissue).pow(1 / 3).float(), torch.lerp(times[place], times[place + 1], share).float(), shift.float()
    )


def _between(table: Tensor, shift: Tensor) -> Tensor:
    """(times, shifts), (N,) -> (N, times): a column for everybody, interpolated."""
    column = ((shift - SHIFTS[0]) / (SHIFTS[1] - SHIFTS[0])).clamp(0, len(SHIFTS) - 1 - 1e-9)
    left = column.long()
    return torch.lerp(table[:, left], table[:, left + 1], column - left).T.contiguous()


def _of(attributes: Mapping[str, Tensor], rows: slice) -> dict[str, Tensor]:
    return {name: value[rows] for name, value in attributes.items()}


def _blocks(count: int, spatial: Sequence[int]) -> Iterator[slice]:
    """Parts of a batch whose maps fit into little memory."""
    size = max(1, 2**17 // math.prod(spatial))
    yield from (slice(start, start + size) for start in range(0, max(count, 1), size))


def _heads(
    attributes: Mapping[str, Tensor],
    traits: Tensor,
    *,
    shot: Tensor,
    lesion: Tensor,
    place: LesionPlace | None = None,
    spatial: Sequence[int],
) -> Iterator[tuple[slice, _Head]]:
    """Batches of heads whose maps fit into little memory, with their rows."""
    for rows in _blocks(len(traits), spatial):
        of_rows = None if place is None else place.take(rows)
        yield rows, _Head(_of(attributes, rows), traits[rows], shot[rows], lesion[rows], spatial, of_rows)


class _Head:
    """One batch of heads; maps are (N, *spatial)."""

    def __init__(
        self,
        attributes: Mapping[str, Tensor],
        traits: Tensor,
        shot: Tensor,
        lesion: Tensor,
        spatial: Sequence[int],
        place: LesionPlace | None = None,
    ):
        self.spatial = tuple(spatial)
        self.trait, self.shot = Traits(TRAITS, traits), Traits(SHOT, shot)
        self.lesion, self.place = lesion, place
        self.pixel = (FIELD if len(spatial) == 2 else CUBE) / spatial[-1]
        template = anatomy()
        self.deformation = deformation_of(
            attributes["brain_volume"],
            attributes["ventricular_volume"],
            self._flat("sulci"),
            template,
            level=template.level(self.pixel),
        )
        seen = self._seen(attributes)
        there = torch.stack(self._sheared(self._placed(seen)), -1)
        there = template.deformed(there, self.deformation.time, self.deformation.shift)
        self.across = there[..., 2]
        """How far to the right every pixel lies in the template, in mm."""
        self.maps: dict[str, Tensor] = dict(zip(MAPS, template.maps(self.pixel).at(there).unbind(1), strict=True))
        self.in_lesion = self._lesion(there, template.sites)

    def _flat(self, name: str) -> Tensor:
        return self.trait(name).flatten()

    def _wide(self, values: Tensor) -> Tensor:
        """(N,) -> (N, 1, ...), as maps are."""
        return values.reshape(-1, *[1] * len(self.spatial))

    def t(self, name: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        """A trait on a scale of its own, as maps are."""
        return self._wide(self.trait(name, low, high))

    def s(self, name: str, low: float = -1.0, high: float = 1.0) -> Tensor:
        """A number of the shot on a scale of its own, as maps are."""
        return self._wide(self.shot(name, low, high))

    def _seen(self, attributes: Mapping[str, Tensor]) -> list[Tensor]:
        """(z, y, x) of the pixels, in mm from the middle; the heights of slices grow with the head."""
        *deep, height, width = self.spatial
        across = (torch.arange(width) + 0.5) * self.pixel - width * self.pixel / 2
        ahead = height * self.pixel / 2 - (torch.arange(height) + 0.5) * self.pixel
        count = len(self.lesion)
        y, x = ahead[:, None].expand(height, width), across[None].expand(height, width)
        if deep:
            up = (torch.arange(deep[0]) + 0.5) * self.pixel - deep[0] * self.pixel / 2
            z, y, x = (axis.expand(count, *self.spatial) for axis in (up[:, None, None], y, x))
            return [z, y, x]
        height_of = LOWEST + APART * attributes["slice"].float() - CENTRE[0]
        z = self._wide(height_of * self.deformation.scale).expand(count, *self.spatial)
        return [z, y.expand_as(z), x.expand_as(z)]

    def _placed(self, points: list[Tensor]) -> list[Tensor]:
        """Out of the scanner: shifts in mm, small rotations, the scale, and proportions that keep the volume."""
        z, y, x = points
        y, x = y - self.s("shift_y", -2.5, 2.5), x - self.s("shift_x", -2.5, 2.5)
        z = z - self.s("shift_z", -0.8, 0.8)
        roll, nod = self.s("roll", -0.05, 0.05), self.s("nod", -0.04, 0.04)
        x, y = x * roll.cos() + y * roll.sin(), y * roll.cos() - x * roll.sin()
        y, z = y * nod.cos() + z * nod.sin(), z * nod.cos() - y * nod.sin()
        scale = self._wide(self.deformation.scale)
        aspect, depth = self.t("aspect", -0.06, 0.06), self.t("depth", -0.02, 0.02)
        factors = (depth.exp(), (aspect - depth / 2).exp(), (-aspect - depth / 2).exp())
        return [axis / scale * factor for axis, factor in zip((z, y, x), factors, strict=True)]

    def _sheared(self, points: list[Tensor]) -> list[Tensor]:
        """Moved along one axis after the other by functions of the other two: the volume of nothing changes."""
        points = list(points)
        for turn in range(_ROUNDS):
            for axis, name in enumerate("zyx"):
                first, second = (points[other] for other in range(3) if other != axis)
                moved = torch.zeros_like(first)
                for wave, (length, height) in enumerate(zip(_LENGTHS, _HEIGHTS, strict=True)):
                    trait = f"shear_{turn}_{name}_{wave}"
                    angle = self.t(f"{trait}_angle", 0, 2 * math.pi)
                    phase = self.t(f"{trait}_phase", 0, 2 * math.pi)
                    reach = self.t(f"{trait}_size") * height * (0.5 if name == "z" else 1.0)
                    along = (angle.cos() * first + angle.sin() * second) * (2 * math.pi / length)
                    moved += reach * (along + phase).sin()
                points[axis] = points[axis] + moved
        return [axis + middle for axis, middle in zip(points, CENTRE, strict=True)]

    def _lesion(self, points: Tensor, sites: Tensor) -> Tensor:
        """How much of every pixel is lesion: a ball in white matter, in the template's millimetres, or a column of a place of its own."""
        if not self.lesion.any():
            return torch.zeros(len(points), *self.spatial)
        if self.place is None:
            centre = sites[(self._flat("lesion_site") * len(sites)).long().clamp(max=len(sites) - 1)]
            radius = self.t("lesion_size", 4.0, 7.5)
        else:
            centre, points, radius = self.place.points, points[..., 1:], self._wide(self.place.radius.float())
        away = (points - centre.reshape(-1, *[1] * len(self.spatial), centre.shape[1])).norm(dim=-1)
        ball = ((radius - away) / 3 + 0.5).clamp(0, 1)
        tissue = (self.maps["white"] + self.maps["grey"]).clamp(0, 1)
        shown: Tensor = tissue * ball * self._wide(self.lesion.float())
        return shown

    def signal(self) -> Tensor:
        """What tissues send, white matter 0.92, before a scanner sees it."""
        maps = self.maps
        grey, white, fluid = (
            GREY + self.t("grey", -0.03, 0.03),
            WHITE + self.t("white", -0.02, 0.02),
            FLUID + self.t("fluid", -0.03, 0.03),
        )
        tissue = grey * maps["grey"] + white * maps["white"] + fluid * maps["fluid"]
        # What the average of real pictures shows beyond the three tissues, as in deep nuclei.
        average = 1.07 * maps["t1"]
        shade = (average - (0.70 * maps["grey"] + 0.92 * maps["white"] + 0.32 * maps["fluid"])) * (
            maps["grey"] + maps["white"]
        )
        tissue = tissue + self.t("t1", 0.5, 1.0) * shade
        return torch.lerp(tissue, torch.full_like(tissue, LESION), self.in_lesion)

    def scan(self, scanner: Tensor) -> Tensor:
        """The picture that a scanner makes of it: contrast, a smooth field over the head, Rician noise."""
        gain, contrast, bias, noise = (
            self._wide(torch.tensor([float(getattr(one, name)) for one in SCANNERS])[scanner])
            for name in ("gain", "contrast", "bias", "noise")
        )
        signal = gain * (self.signal() / WHITE).clamp(min=0).pow(contrast) * (1 + bias * self._field())
        seeds = (self.shot("noise").flatten().double() * 2**31).long()
        channels = torch.stack(
            [torch.randn(2, *self.spatial, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
        )
        magnitude = ((signal + noise * channels[:, 0]).square() + (noise * channels[:, 1]).square()).sqrt()
        return (240 * magnitude).round_().clamp_(0, 255).to(torch.uint8)[:, None]

    def _field(self) -> Tensor:
        """The coil's field, a polynomial of the place in the picture, within about -1 to 1."""
        *deep, y, x = (((torch.arange(size) + 0.5) * 2 / size - 1) for size in self.spatial)
        y, x = y[:, None], x[None]
        field = self.s("bias_x") * x + self.s("bias_y") * y
        field = (
            field
            + self.s("bias_xx") * (x.square() - 0.33)
            + self.s("bias_yy") * (y.square() - 0.33)
            + self.s("bias_xy") * x * y
        )
        return field + self.s("bias_z") * deep[0][:, None, None] if deep else field

    def parts(self, halves: bool) -> Tensor:
        maps, names = self.maps, PARTS_OF_HALVES if halves else PARTS
        label = (maps["grey"] + maps["white"] + maps["fluid"] >= 0.5).to(torch.uint8)
        if halves:
            label[(label > 0) & (self.across > 0)] = names.index("right")
        label[self.in_lesion >= 0.5] = names.index("lesion")
        label[maps["ventricles"] >= 0.5] = names.index("ventricles")
        return label
