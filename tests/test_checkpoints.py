import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from counterbench.checkpoints import load_weights, save_weights
from counterbench.errors import CheckpointError


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "w.safetensors"
    module = nn.Linear(3, 2)
    return module, path, save_weights(module, path)


def test_round_trip(saved):
    module, path, sha256 = saved
    other = nn.Linear(3, 2)
    assert load_weights(other, path, sha256) == sha256
    assert torch.equal(other.weight, module.weight)


def test_truncated(saved):
    _, path, _ = saved
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="truncated"):
        load_weights(nn.Linear(3, 2), path)


def test_wrong_hash(saved):
    _, path, _ = saved
    with pytest.raises(CheckpointError, match=r"has SHA-256 .* expected 000000000000"):
        load_weights(nn.Linear(3, 2), path, "0" * 64)


def test_missing(tmp_path):
    with pytest.raises(CheckpointError, match="There are no weights at"):
        load_weights(nn.Linear(3, 2), tmp_path / "none.safetensors")


def test_another_architecture(saved):
    _, path, _ = saved
    with pytest.raises(CheckpointError, match=r"'weight' has shape \(2, 3\), expected \(2, 4\)"):
        load_weights(nn.Linear(4, 2), path)
    with pytest.raises(CheckpointError, match=r"lacks '0.bias' and has an unknown 'bias'"):
        load_weights(nn.Sequential(nn.Linear(3, 2)), path)


def test_nan_weights(tmp_path):
    save_file({"weight": torch.full((2, 3), torch.nan), "bias": torch.zeros(2)}, tmp_path / "nan.safetensors")
    with pytest.raises(CheckpointError, match="'weight' hold NaN"):
        load_weights(nn.Linear(3, 2), tmp_path / "nan.safetensors")


def test_pickles_are_not_opened(tmp_path):
    torch.save({"weight": torch.zeros(2, 3)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="not an intact safetensors file"):
        load_weights(nn.Linear(3, 2), tmp_path / "w.pt")
