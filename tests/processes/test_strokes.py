import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from counterbench.processes import strokes


@given(st.integers(0, 10_000), st.floats(0.05, 0.95), st.integers(3, 30))
def test_distance_is_the_exact_euclidean_one_within_reach(seed, density, reach):
    inside = torch.rand(2, 24, 31, generator=torch.Generator().manual_seed(seed)) < density
    inside[:, 0, 0] = False
    found = strokes.distance(inside, reach).numpy()
    for k in range(2):
        reference = ndimage.distance_transform_edt(inside[k].numpy())
        near = reference <= reach
        assert np.allclose(found[k][near], reference[near], atol=1e-5)
        assert (found[k][~near] > reach - 1e-5).all()


def bar(width, cells=8):
    """A horizontal bar, `width` pixels thick, as a set of cells."""
    inside = torch.zeros(1, 28 * cells, 28 * cells, dtype=torch.bool)
    half = round(width * cells / 2)
    middle = 14 * cells
    inside[:, middle - half : middle + half, 6 * cells : 22 * cells] = True
    return inside


@pytest.mark.parametrize("width", [1.0, 2.0, 4.0])
def test_thickness_of_a_bar(width):
    assert float(strokes.mean_thickness(bar(width))) == pytest.approx(width, rel=0.12, abs=0.15)


@pytest.mark.parametrize("shift", [-0.7, -0.25, 0.0, 0.3, 1.1])
def test_moving_the_edge_of_a_bar(shift):
    """A bar of 3 x 16 px whose edge moves by s has the area of the dilated or eroded rectangle."""
    covered = strokes.move_edge(bar(3.0), torch.tensor([shift]))
    width, length = 3 + 2 * shift, 16 + 2 * shift
    expected = width * length - ((4 - np.pi) * shift**2 if shift > 0 else 0)  # a disk rounds the corners
    assert float(covered.sum()) == pytest.approx(expected, rel=0.04)


def test_intensity_is_the_median_of_the_bright_half():
    images = torch.tensor([[[0.0, 100.0], [200.0, 250.0]], [[0.0, 10.0], [90.0, 100.0]], [[7.0, 7.0], [7.0, 7.0]]])
    assert strokes.median_intensity(images).tolist() == [225.0, 95.0, 7.0]


@pytest.fixture(scope="module")
def glyphs():
    from counterbench.datasets.files import glyphs

    optical = glyphs.optical_digits()
    traced = glyphs.trace(optical.images[:24])
    return glyphs.posed(traced, torch.zeros(24, 5))


@pytest.mark.parametrize("wanted", [1.5, 2.5, 4.0])
def test_rendered_thickness_and_intensity_can_be_measured_again(glyphs, wanted):
    thickness, intensity = torch.full((24,), wanted), torch.linspace(80, 250, 24)
    images = strokes.render(glyphs, thickness, intensity)
    assert images.dtype == torch.uint8
    measured = strokes.measure_thickness(images)
    # The median: where strokes of a thick glyph meet, they are thicker than the pen.
    assert float((measured - wanted).abs().median()) < 0.15
    assert float((strokes.median_intensity(images.double()) + 0.5 - intensity).abs().median()) <= 0.5


def test_thickness_and_intensity_are_monotone(glyphs):
    steps = [strokes.render(glyphs, torch.full((24,), t), torch.full((24,), 200.0)) for t in (1.5, 2.5, 3.5, 4.5)]
    ink = torch.stack([(step > 100).sum((1, 2)) for step in steps])
    assert (ink.diff(dim=0) > 0).all()
    brighter = [
        strokes.render(glyphs, torch.full((24,), 2.5), torch.full((24,), i)).double() for i in (80.0, 150.0, 240.0)
    ]
    assert (brighter[1] >= brighter[0]).all()
    assert (brighter[2] >= brighter[1]).all()


def test_an_image_depends_on_neither_its_batch_nor_the_number_of_threads(glyphs):
    thickness, intensity = torch.linspace(1, 5, 24), torch.linspace(80, 250, 24)
    whole = strokes.render(glyphs, thickness, intensity)
    for i in (0, 11, 23):
        assert torch.equal(strokes.render(glyphs[i : i + 1], thickness[i : i + 1], intensity[i : i + 1])[0], whole[i])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert torch.equal(strokes.render(glyphs, thickness, intensity), whole)
        assert torch.equal(
            strokes.measure_thickness(whole[:5]),
            torch.cat([strokes.measure_thickness(whole[i : i + 1]) for i in range(5)]),
        )
    finally:
        torch.set_num_threads(threads)


def test_blank_images_have_no_stroke():
    assert strokes.measure_thickness(torch.stack([torch.zeros(28, 28), torch.full((28, 28), 200.0)])).tolist() == [
        0.0,
        0.0,
    ]
    assert strokes.render(torch.empty(0, 112, 112), torch.empty(0), torch.empty(0)).shape == (0, 28, 28)


def reference_render(image, thickness, intensity):
    """The published recipe in scikit-image: 16x, medial axis, dilation or erosion by a disk, downsampling, intensity."""
    from skimage import morphology, transform

    fine = (255 * transform.pyramid_expand(image, upscale=16, order=3)).astype(np.uint8)
    inside = fine >= 0.5 * fine.max()
    skeleton, depth = morphology.medial_axis(inside, return_distance=True)
    current = 2 * depth[skeleton].mean() / 16
    disk = morphology.disk(int(16 * abs(thickness - current) / 2))
    moved = ndimage.binary_dilation(inside, disk) if thickness >= current else ndimage.binary_erosion(inside, disk)
    coarse = np.floor(255 * transform.pyramid_reduce(moved.astype(np.float32), downscale=16, order=3))
    bright = np.median(coarse[coarse >= coarse.max() / 2])
    return np.clip(np.floor(coarse * intensity / bright), 0, 255), current


def test_agrees_with_a_scikit_image_implementation_of_the_recipe(glyphs):
    """Below 2 grey levels per pixel on average, at any thickness."""
    base = strokes.render(glyphs[:6], torch.full((6,), 2.4), torch.full((6,), 250.0))
    wanted, intensity = torch.tensor([1.5, 2.0, 2.6, 3.2, 3.8, 4.5]), torch.full((6,), 200.0)
    ours = strokes.render(strokes.upsample(base.double() / 255), wanted, intensity)
    for i in range(6):
        reference, current = reference_render(base[i].numpy(), float(wanted[i]), 200.0)
        assert np.abs(ours[i].numpy().astype(float) - reference).mean() < 2
        inside = strokes.shape(strokes.upsample(base[i : i + 1]))
        assert float(strokes.mean_thickness(inside)) == pytest.approx(current, abs=0.12)
