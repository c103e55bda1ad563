"""Devices by name."""

import pytest
import torch

from counterbench import evaluation
from counterbench.errors import ConfigError
from counterbench.models.model import Contestant
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


def test_models_are_asked_in_single_precision_whatever_was_set(toy, monkeypatch):
    """TF32 on CUDA is neither what a CPU computes nor what a model was trained in; outside of an evaluation nothing changes."""
    seen = []

    class Model:
        def counterfactual(self, factual, interventions, generator=None):
            seen.append(torch.backends.cudnn.allow_tf32)
            return {**factual, **interventions}

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    exam = evaluation.prepare(toy.Toy(), "quick", device="cpu", limit=10)
    evaluation.evaluate(Contestant("one", Model()), exam)
    assert set(seen) == {False}
    assert torch.backends.cudnn.allow_tf32
