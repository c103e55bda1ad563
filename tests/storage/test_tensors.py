"""Tensors on disk are read back as they were, or not at all."""

import pytest
import torch

from counterbench.errors import CacheWarning, RecordError
from counterbench.storage.tensors import read_tensors, write_tensors


@pytest.fixture
def path(tmp_path):
    write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(6.0).view(2, 3).T}, metadata={"word": "w"})
    return tmp_path / "a.safetensors"


def test_round_trip(path):
    tensors, metadata = read_tensors(path)
    assert torch.equal(tensors["x"], torch.arange(6.0).view(2, 3).T)
    assert metadata["word"] == "w"


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-3], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b"", lambda b: b[:40]]
)
def test_what_is_not_intact_is_not_read(path, damage):
    path.write_bytes(damage(path.read_bytes()))
    assert read_tensors(path) is None


def test_what_is_not_there_is_not_read(tmp_path):
    assert read_tensors(tmp_path / "none") is None


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(CacheWarning, match=r"cannot be written \(.+\).*COUNTERBENCH_CACHE"):
        write_tensors(tmp_path / "file" / "a", {}, optional=True)
    with pytest.raises(RecordError, match="Cannot write"):
        write_tensors(tmp_path / "file" / "a", {})
