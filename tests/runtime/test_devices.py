"""Devices by name."""

import pytest
import torch

from counterbench.errors import ConfigError
from counterbench.runtime.devices import choose_device


@pytest.mark.parametrize("name", ["cuda:²", "cuda:", "cuda:00", "cpu:0", "cuda:1" + "0" * 5000])
def test_devices_that_there_are_not(name):
    with pytest.raises(ConfigError, match="Unknown device") as caught:
        choose_device(name)
    assert len(str(caught.value)) < 200


def test_a_device_that_this_machine_lacks(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match="has no device 'cuda:2'; give --device cpu, or auto"):
        choose_device("cuda:2")


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_fastest_there_is(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto").type == expected
