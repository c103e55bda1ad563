"""A distance between answers, in units of the distance between strangers."""

import asked
import pytest
import torch


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


def test_by_hand(dataset):
    """The change is measured from the model's own null answer: what its reconstruction loses is no loss of identity."""

    def blurred(factual, held, truth):
        """20 grey levels too bright, and 6 more where c is set."""
        extra = 6.0 if "c" in held else 0.0
        return {**truth, "image": factual["image"] + 20 + extra}

    known = asked.setting(dataset)
    batches = list(asked.answers(dataset, blurred, [torch.arange(30)]))
    strangers = next(
        (answers.factual["image"] - answers.batch.partner.images).abs().flatten(1).mean(1)
        for answers in batches
        if answers.intervened == ("c",)
    )
    columns = asked.computed("identity_preservation", known, batches, spaces=["l1"])
    found = {column.cell.intervened: column for column in columns}
    assert found["c"].point() == pytest.approx(6 / float(strangers.double().mean()), rel=1e-5)
    assert found["a"].point() == pytest.approx(0, abs=1e-5)
    assert torch.allclose(found["c"].reference, strangers.double(), atol=1e-4)
    assert float(strangers.min()) > 1
