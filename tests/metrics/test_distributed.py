"""Metrics in two processes that talk to each other give what one process gives."""

import socket

import asked
import pytest
import torch

COUNT = 30
METRICS = {"composition": {}, "effectiveness": {}, "realism": {"spaces": ["pixel"]}, "minimality": {}}


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed computing")
def test_two_processes_compute_what_one_does(toy, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=asked.work_in_parallel, args=(rank, port, str(tmp_path), METRICS, COUNT))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        assert process.exitcode == 0
    dataset = toy.Toy()
    setting = asked.setting(dataset)
    for name, options in METRICS.items():
        whole = asked.computed(name, setting, asked.answers(dataset, asked.noisy, [torch.arange(COUNT)]), **options)
        for rank in range(2):
            both = torch.load(tmp_path / f"{rank}.pt", weights_only=True)[name]
            assert len(both) == len(whole)
            for (cell, index, value), column in zip(both, whole, strict=True):
                assert cell == repr(column.cell)
                assert torch.equal(index, column.index)
                assert torch.allclose(value, column.value, rtol=1e-6, atol=1e-9)
