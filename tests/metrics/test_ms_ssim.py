"""MS-SSIM: known values, MONAI's, small sides, and what doing nothing and the truth score; MMD as MONAI computes it; alike draws."""

from dataclasses import replace

import asked
import pytest
import torch

from counterbench.metrics.statistics.distributions import kid, squared_mmd
from counterbench.metrics.statistics.structural_similarity import WEIGHTS, ms_ssim, scales_of
from counterbench.plugins import registry

SHAPES = [(1, 192, 192), (3, 64, 64), (1, 32, 32), (1, 28, 28), (1, 16, 16), (1, 24, 24, 24), (2, 16, 16, 16)]


def pictures(shape, seed=0):
    """Smooth images, and the same a little off."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(3, shape[0], *[max(2, side // 8) for side in shape[1:]], generator=generator)
    mode = "bilinear" if len(shape) == 3 else "trilinear"
    smooth = 255 * torch.nn.functional.interpolate(coarse, size=shape[1:], mode=mode)
    return smooth, (smooth + 20 * torch.randn(smooth.shape, generator=generator)).clamp(0, 255)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_what_monai_computes(shape):
    pytest.importorskip("monai", reason="pip install 'counterbench[monai]'")
    from monai.metrics.regression import MultiScaleSSIMMetric

    weights, window = scales_of(shape[1:])
    theirs = MultiScaleSSIMMetric(len(shape) - 1, data_range=255.0, kernel_size=window, weights=weights)
    first, second = pictures(shape)
    expected = theirs(first, second)[:, 0].double()
    assert torch.allclose(ms_ssim(first, second), expected, atol=1e-4)
    assert 0.05 < float(expected.mean()) < 0.999


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_of_equal_images_it_is_one_and_it_knows_no_order(shape):
    first, second = pictures(shape)
    assert torch.allclose(ms_ssim(first, first), torch.ones(3).double(), atol=1e-12)
    assert torch.allclose(ms_ssim(first, second), ms_ssim(second, first))
    alone = torch.cat([ms_ssim(first[i : i + 1], second[i : i + 1]) for i in range(3)])
    assert torch.allclose(ms_ssim(first, second), alone, atol=1e-12)


def test_constant_images_are_compared_by_luminance():
    """(2 m n + c) / (m^2 + n^2 + c), c = (0.01 255)^2, to the power of the coarsest weight."""
    low = 2.55**2
    expected = (2 * 100 * 50 + low) / (100**2 + 50**2 + low)
    first, second = torch.full((1, 1, 16, 16), 100.0), torch.full((1, 1, 16, 16), 50.0)
    assert float(ms_ssim(first, second)) == pytest.approx(expected)
    weights, _ = scales_of((32, 32))
    wide = [image.repeat(1, 1, 2, 2) for image in (first, second)]
    assert float(ms_ssim(*wide)) == pytest.approx(expected ** weights[-1])


@pytest.mark.parametrize(
    ("side", "count", "window"),
    [(176, 5, 11), (175, 4, 11), (88, 4, 11), (44, 3, 11), (22, 2, 11), (21, 1, 11), (10, 1, 9), (9, 1, 9), (1, 1, 1)],
)
def test_scales_are_as_many_as_fit(side, count, window):
    weights, found = scales_of((side, 200))
    assert (len(weights), found) == (count, window)
    assert sum(weights) == pytest.approx(1)
    assert weights[0] / WEIGHTS[0] == pytest.approx(weights[-1] / WEIGHTS[count - 1])


def test_doing_nothing_and_the_truth_are_the_ends(toy):
    dataset = toy.Toy()
    nothing = asked.points("ms_ssim", asked.setting(dataset), dataset, lambda given, held, truth: given, range(40))
    truth = asked.points("ms_ssim", asked.setting(dataset), dataset, asked.true, range(40))
    assert nothing["similarity", "", "", 1] == pytest.approx(1)
    for name in ("a", "b"):
        assert truth["truth_similarity", name, "", 0] == pytest.approx(1)
        assert nothing["truth_similarity", name, "", 0] < 0.99


def test_the_linear_kernel_is_that_of_monai():
    pytest.importorskip("monai", reason="pip install 'counterbench[monai]'")
    from monai.metrics.mmd import compute_mmd

    generator = torch.Generator().manual_seed(0)
    real = torch.rand(40, 1, 6, 6, generator=generator, dtype=torch.float64)
    made = torch.rand(40, 1, 6, 6, generator=generator, dtype=torch.float64) + 0.2
    ours = float(squared_mmd(made.flatten(1), real.flatten(1), "linear").mean())
    # MONAI sums over pixels, and takes the pairs of one question into its last term.
    assert ours == pytest.approx(float(compute_mmd(real, made, None)) / 36, rel=0.02)


@pytest.mark.parametrize("kernel", ["cubic", "linear", "gaussian"])
def test_a_discrepancy_is_nought_between_equal_sets_and_grows(kernel):
    real = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    numbers = [float(squared_mmd(real + shift, real, kernel).mean()) for shift in (0.0, 0.5, 1.0)]
    assert numbers[0] == pytest.approx(0, abs=1e-12)
    assert numbers == sorted(numbers)
    assert numbers[1] > 1e-3


def test_the_linear_kernel_sees_means_alone():
    real = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    real = real - real.mean(0)
    wide = {kernel: float(squared_mmd(3 * real, real, kernel).mean()) for kernel in ("linear", "gaussian", "cubic")}
    assert abs(wide["linear"]) < 0.05
    assert wide["gaussian"] > 0.05
    assert wide["cubic"] == float(kid(3 * real, real).mean())


def test_draws_that_are_all_the_same_are_alike(toy):
    dataset = toy.Toy()
    found = []
    for width in (0.0, 5.0, 30.0):
        generator = torch.Generator().manual_seed(0)
        metric = registry.metrics.get("draws")(asked.setting(dataset), count=3, similarity=True)
        for answers in asked.answers(dataset, asked.true, [torch.arange(10)]):
            if answers.kind == "single" and answers.intervened == ("a",):
                image = answers.truth["image"]
                noise = [width * torch.randn(image.shape, generator=generator) for _ in range(3)]
                draws = [{**answers.truth, "image": image + one} for one in noise]
                metric.update(replace(answers, drawn=draws.__getitem__))
        (column,) = [one for one in metric.compute() if one.cell.quantity == "pairwise_similarity"]
        assert column.no_rank
        found.append(column.point())
    assert found[0] == pytest.approx(1)
    assert found[0] > found[1] > found[2]
