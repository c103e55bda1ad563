"""Errors in percent of the true outcome."""

from dataclasses import replace

import asked
import pytest
import torch


def test_by_hand(toy):
    """An outcome of 0 has no error in percent; one of 2 that is answered by 3 is off by half of the truth."""
    dataset = toy.Toy()
    (answers,) = (
        one
        for one in asked.answers(dataset, asked.true, [torch.arange(4)])
        if one.kind == "single" and one.intervened == ("a",)
    )
    truth = torch.tensor([0.0, 2.0, -4.0, 1.0])
    values = torch.tensor([1.0, 3.0, -2.0, 1.0])
    changed = replace(answers, truth={**answers.truth, "b": truth}, values={**answers.values, "b": values})
    found = {
        column.cell.measured: column for column in asked.computed("percentage_error", asked.setting(dataset), [changed])
    }
    for measured in ("", "b"):
        assert found[measured].index.tolist() == [1, 2, 3]
        assert found[measured].value.tolist() == pytest.approx([50, 50, 0])
