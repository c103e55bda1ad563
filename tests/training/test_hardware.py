"""Hardware in Lightning's words."""

import pytest

from counterbench.training.hardware import Hardware


@pytest.mark.parametrize(
    ("hardware", "accelerator", "indices"),
    [
        (Hardware(), "auto", 1),
        (Hardware("cpu", 2), "cpu", 2),
        (Hardware("cuda"), "gpu", 1),
        (Hardware("cuda:3"), "gpu", [3]),
        (Hardware("cuda", 4), "gpu", 4),
        (Hardware("mps"), "mps", 1),
    ],
)
def test_a_device_with_a_number_is_that_one(hardware, accelerator, indices):
    assert (hardware.accelerator, hardware.indices) == (accelerator, indices)
