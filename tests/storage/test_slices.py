"""Which slices of a volume are looked at, and along which axis."""

import pytest
import torch

from counterbench.pictures.grid import show_image
from counterbench.pictures.sheet import tiled
from counterbench.storage.slices import AXIAL, CORONAL, SAGITTAL, over_planes, picture_of, slice_of


@pytest.fixture
def volumes():
    """(2, 1, 4, 6, 8), whose voxels tell where they lie: depth in hundreds, height in tens, width in ones."""
    z, y, x = torch.meshgrid(torch.arange(4), torch.arange(6), torch.arange(8), indexing="ij")
    return (100 * z + 10 * y + x).float()[None, None].repeat(2, 1, 1, 1, 1)


def test_an_axial_slice_is_one_height_with_the_front_at_the_top(volumes):
    assert torch.equal(slice_of(volumes), volumes[:, :, 2])
    assert torch.equal(slice_of(volumes, AXIAL, index=0), volumes[:, :, 0])
    assert picture_of(volumes, index=3)[0, 0, 0, 0] == 300


def test_the_other_planes_have_what_is_high_at_the_top(volumes):
    coronal, sagittal = slice_of(volumes, CORONAL), slice_of(volumes, SAGITTAL)
    assert coronal.shape == (2, 1, 4, 8)
    assert (coronal[0, 0, 0, 0], coronal[0, 0, -1, -1]) == (330, 37)
    assert sagittal.shape == (2, 1, 4, 6)
    assert (sagittal[0, 0, 0, 0], sagittal[0, 0, -1, -1]) == (304, 54)


def test_pictures_are_drawn_as_they_are_and_volumes_by_their_middle(volumes):
    picture = torch.rand(2, 3, 4, 4)
    assert picture_of(picture) is picture
    assert torch.equal(picture_of(volumes), volumes[:, :, 2])
    montage = picture_of(volumes, montage=True)
    assert montage.shape == (2, 1, 6, 8 + 8 + 6)
    assert torch.equal(montage[..., :8], volumes[:, :, 2])
    assert torch.equal(montage[:, :, :4, 8:16], slice_of(volumes, CORONAL))
    assert not montage[:, :, 4:, 8:].any()


def test_who_reads_pictures_reads_three_slices(volumes):
    said = over_planes(lambda images: images.flatten(1).mean(1), volumes)
    slices = [volumes[:, :, 2], volumes[:, :, :, 3], volumes[..., 4]]
    assert torch.allclose(said, sum(one.flatten(1).mean(1) for one in slices) / 3)


def test_whatever_draws_draws_the_middle(volumes):
    assert torch.equal(tiled(volumes, 2)[:, :, :8], volumes[0, :, 2])
    drawn = []

    class Axis:
        def imshow(self, pixels, **_):
            drawn.append(pixels)

    show_image(Axis(), volumes[0])
    assert drawn[0].shape == (6, 8)
    assert drawn[0][5, 7] == 257
