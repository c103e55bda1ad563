import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from counterbench.errors import CheckpointError
from counterbench.storage.weights import load_weights, save_weights


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "w.safetensors"
    module = nn.Linear(3, 2)
    return module, path, save_weights(module, path)


def test_round_trip(saved):
    module, path, sha256 = saved
    other = nn.Linear(3, 2)
    assert load_weights(other, path, sha256=sha256) == sha256
    assert torch.equal(other.weight, module.weight)


def test_truncated(saved):
    _, path, _ = saved
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="truncated"):
        load_weights(nn.Linear(3, 2), path)


def test_wrong_hash(saved):
    _, path, _ = saved
    with pytest.raises(CheckpointError, match=r"has SHA-256 .* expected 000000000000"):
        load_weights(nn.Linear(3, 2), path, sha256="0" * 64)


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


def test_a_tensor_too_few_or_too_many(saved, tmp_path):
    _, path, _ = saved
    weight, bias = torch.zeros(2, 3), torch.zeros(2)
    save_file({"weight": weight}, path)
    with pytest.raises(CheckpointError, match=r"made for another model: it lacks 'bias'\."):
        load_weights(nn.Linear(3, 2), path)
    save_file({"weight": weight, "bias": bias, "x" * 500: bias.clone()}, path)
    with pytest.raises(CheckpointError, match=r"another model: it has an unknown 'xxx.{0,80}\.$"):
        load_weights(nn.Linear(3, 2), path)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_numbers_of_another_kind_are_not_cast(tmp_path, dtype):
    path, module = tmp_path / "w.safetensors", nn.Linear(3, 2)
    before = module.weight.clone()
    save_file({"weight": torch.ones(2, 3).to(dtype), "bias": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=rf"'weight' holds {str(dtype).removeprefix('torch.')}, expected float32"):
        load_weights(module, path)
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_read(tmp_path, dtype):
    path, module = tmp_path / "w.safetensors", nn.Linear(3, 2)
    save_file({"weight": torch.ones(2, 3).to(dtype), "bias": torch.zeros(2)}, path)
    load_weights(module, path)
    assert torch.equal(module.weight, torch.ones(2, 3))


def test_what_single_precision_cannot_hold_is_infinite(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.full((2, 3), 1e300, dtype=torch.float64), "bias": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="'weight' hold NaN or infinite"):
        load_weights(nn.Linear(3, 2), path)


@pytest.mark.parametrize("curves", [{"t": True}, {"t": {"seconds": "9"}}, {"t": {"seconds": float("inf")}}, [1], {}])
def test_a_manifest_whose_curves_are_none_tells_no_seconds(curves):
    from counterbench.models import loading

    assert loading._provenance({"source": "s", "curves": curves})["seconds"] is None
    assert loading._provenance({"curves": {"t": {"seconds": 1.24}, "u": {"seconds": 2}}})["seconds"] == 3.2


@pytest.mark.parametrize(("bits", "size", "off"), [(16, 0.5, 5e-4), (8, 0.27, 4e-3)])
def test_fewer_bits_are_smaller_and_nearly_the_same(tmp_path, bits, size, off):
    module = nn.Sequential(nn.Conv2d(16, 32, 3), nn.Linear(64, 64), nn.LayerNorm(64))
    with torch.no_grad():
        module[0].weight[3] *= 1000  # a loud channel does not cost the others their digits
    whole, small = tmp_path / "w.safetensors", tmp_path / "s.safetensors"
    save_weights(module, whole)
    sha256 = save_weights(module, small, bits=bits)
    other = nn.Sequential(nn.Conv2d(16, 32, 3), nn.Linear(64, 64), nn.LayerNorm(64))
    assert load_weights(other, small, sha256=sha256) == sha256
    assert small.stat().st_size < size * whole.stat().st_size + 1000
    for name, value in module.state_dict().items():
        got, rows = other.state_dict()[name], value.view(len(value), -1)
        largest = rows.abs().amax(1)
        assert got.dtype == value.dtype
        assert ((got.view_as(rows) - rows).abs().amax(1) <= off * largest).all()
    assert save_weights(other, tmp_path / "again.safetensors", bits=bits) == sha256  # what is rounded stays as it is


def test_eight_bits_want_one_step_a_row(tmp_path):
    path, module = tmp_path / "w.safetensors", nn.Linear(64, 64)
    save_weights(module, path, bits=8)
    state = load_file(path)
    save_file({**state, "weight::scale": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match="'weight' holds int8, expected float32"):
        load_weights(module, path)
