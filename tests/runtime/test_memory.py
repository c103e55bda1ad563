"""Memory that is freed stays, or goes back to the system."""

import resource

import pytest
import torch

from counterbench.runtime import memory


def faults(times: int = 20) -> int:
    """New pages that the system hands out while a block of 64 MB is used and freed again and again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.empty(2**24).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(memory._glibc() is None, reason="another allocator than glibc's")
def test_freed_memory_stays_inside_the_block_and_only_there():
    before = faults()
    with memory.freed_kept():
        faults()  # takes what is then kept
        inside = faults()
    after = faults()
    assert inside < before / 4
    assert inside < after / 4


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    with memory.freed_kept():
        memory.give_back()


def test_memory_goes_back_after_an_error_too():
    with pytest.raises(ValueError, match="inside"), memory.freed_kept():
        raise ValueError("inside")
