"""Metrics whose samples were taken by two processes give what one process gives."""

import asked
import pytest
import torch

from counterbench.plugins import registry
from counterbench.storage.tensors import read_tensors

COUNT = 30
METRICS = {"composition": {}, "effectiveness": {}, "realism": {"spaces": ["pixel"]}, "minimality": {}}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """What metrics have taken in two processes, two thirds of the samples and the rest."""
    home = tmp_path_factory.mktemp("parts")
    context = torch.multiprocessing.get_context("spawn")
    rows = [(0, 2 * COUNT // 3), (2 * COUNT // 3, COUNT)]
    processes = [
        context.Process(target=asked.take_and_dump, args=(one, str(home / f"{number}.safetensors"), METRICS))
        for number, one in enumerate(rows)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        assert process.exitcode == 0
    return [read_tensors(home / f"{number}.safetensors")[0] for number in range(2)]


@pytest.mark.parametrize("name", METRICS)
def test_two_processes_compute_what_one_does(toy, parts, name):
    dataset = toy.Toy()
    setting = asked.setting(dataset)
    options = METRICS[name]
    whole = asked.computed(name, setting, asked.answers(dataset, asked.noisy, [torch.arange(COUNT)]), **options)
    both = registry.metrics.get(name)(setting, **options)
    for part in reversed(parts):  # in any order
        both.restore({key.removeprefix(f"{name}/"): v for key, v in part.items() if key.startswith(f"{name}/")})
    columns = both.compute()
    assert len(columns) == len(whole)
    for column, expected in zip(columns, whole, strict=True):
        assert column.cell == expected.cell
        assert torch.equal(column.index, expected.index)
        assert torch.allclose(column.value, expected.value, rtol=1e-6, atol=1e-9)
