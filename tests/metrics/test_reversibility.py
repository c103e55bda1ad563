"""What an intervention that is taken back leaves behind."""

import asked
import pytest
import torch


def test_by_hand(toy):
    """Taking c back leaves the image 6 grey levels too bright, taking a or b back leaves nothing."""

    def leaves_a_trace(given, held, truth):
        back = "c" in held and "c" in given.done
        return {**truth, "image": truth["image"] + (6.0 if back else 0.0)}

    dataset = toy.Toy()
    columns = asked.computed(
        "reversibility", asked.setting(dataset), asked.answers(dataset, leaves_a_trace, [torch.arange(20)])
    )
    assert {column.cell.intervened: len(column.index) for column in columns} == {"a": 20, "b": 20, "c": 20}
    for column in columns:
        expected = 6 if column.cell.intervened == "c" else 0
        assert column.value.tolist() == pytest.approx([expected] * 20, abs=1e-4)
