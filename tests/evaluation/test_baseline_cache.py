"""Scores of baselines in the cache."""

import torch

from counterbench.evaluation.baseline_cache import load_columns, save_columns
from counterbench.metrics.base import Cell, Column


def test_what_a_baseline_scored_comes_back_as_it_was(tmp_path):
    """Cells are compared with those of the model: a pair's variables and the bounds are tuples again."""
    cells = [
        Cell("l1", "grey levels", "lower", ("a", "b"), bounds=(0.0, 255.0)),
        Cell("effect", "", "one", "a", of_truth=1.0),
        Cell("prior_test", "", "half"),
    ]
    index, value = torch.tensor([3, 7]), torch.tensor([0.5, 0.25], dtype=torch.float64)
    columns = [Column("m", cell, index, value + k, reference=value.clone()) for k, cell in enumerate(cells)]
    path = tmp_path / "columns.safetensors"
    assert save_columns(path, columns)
    back = load_columns(path)
    assert [column.cell for column in back] == cells
    for column, kept in zip(columns, back, strict=True):
        assert torch.equal(column.index, kept.index)
        assert torch.equal(column.value, kept.value)
        assert torch.equal(column.reference, kept.reference)
