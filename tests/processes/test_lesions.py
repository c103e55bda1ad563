"""Lesions of strokes: they lie where they should, and change nothing else."""

import pytest
import torch

from counterbench.datasets.files.glyphs import optical_digits, posed, trace
from counterbench.processes import lesions
from counterbench.processes.strokes import render

COUNT = 24


@pytest.fixture(scope="module")
def drawn():
    outline = posed(trace(optical_digits().images[:COUNT]).double(), torch.zeros(COUNT, 5, dtype=torch.float64))
    thickness = torch.full((COUNT,), 2.5)
    images = render(outline, thickness, torch.full((COUNT,), 200.0))
    return outline, images, thickness


def put(drawn, kind, *, height=0.5, side=0, size=2.5):
    outline, images, thickness = drawn
    sides = torch.full((COUNT,), side)
    centre, direction = lesions.sites(outline, torch.full((COUNT,), height), sides)
    kinds = torch.full((COUNT,), lesions.KINDS.index(kind))
    sizes = torch.full((COUNT,), size)
    changed = lesions.apply(images, centre, direction, kind=kinds, size=sizes, thickness=thickness)
    return changed, centre, direction, lesions.reach(kinds, sizes, thickness)


def test_without_a_lesion_nothing_changes(drawn):
    assert torch.equal(put(drawn, "none")[0], drawn[1])


@pytest.mark.parametrize(("kind", "sign"), [("swelling", 1), ("fracture", -1)])
def test_a_lesion_adds_or_takes_ink_within_its_disk_and_nowhere_else(drawn, kind, sign):
    changed, centre, _, reach = put(drawn, kind)
    difference = changed.double() - drawn[1].double()
    assert (sign * difference.flatten(1).sum(1) > 0).all()
    place = torch.arange(28) + 0.5
    away = torch.hypot(place[None, None] - centre[:, 0, None, None], place[None, :, None] - centre[:, 1, None, None])
    beyond = away > (reach + 1.5)[:, None, None]  # a pixel belongs to the disk with any of its corners
    assert (difference[beyond] == 0).all()
    assert (reach > 0).all()


def test_the_larger_a_fracture_the_less_ink_is_left(drawn):
    left = [float(put(drawn, "fracture", size=size)[0].double().sum()) for size in (1.0, 2.0, 3.0, 4.0)]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.97 * left[0]


def test_sites_follow_height_and_side_and_lie_on_the_stroke(drawn):
    heights = [put(drawn, "none", height=height)[1][:, 1] for height in (0.0, 0.5, 1.0)]
    assert (heights[0] < heights[1]).all()
    assert (heights[1] < heights[2]).all()
    left, right = (put(drawn, "none", side=side)[1][:, 0] for side in (0, 1))
    assert (left <= right).all()
    assert (left < right - 3).any()
    centre, direction = put(drawn, "none")[1:3]
    rows, columns = centre[:, 1].long(), centre[:, 0].long()
    assert (drawn[1][torch.arange(COUNT), rows, columns] > 60).all()
    assert torch.allclose(direction.norm(dim=1), torch.ones(COUNT, dtype=torch.float64))
