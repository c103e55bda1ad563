import asked
import torch

from counterbench.metrics.composition import l1


def test_by_hand():
    first = torch.tensor([[[[0.0, 10.0], [20.0, 30.0]]], [[[1.0, 1.0], [1.0, 1.0]]]])
    second = torch.tensor([[[[0.0, 0.0], [40.0, 30.0]]], [[[1.0, 1.0], [1.0, 3.0]]]])
    assert l1(first, second).tolist() == [7.5, 0.5]


def test_unsigned_bytes_do_not_wrap_around():
    """Defect 9 of the anchor: 0 - 1 was 255, so that every value of a published table came out near 128."""
    dark, bright = torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.ones(1, 1, 2, 2, dtype=torch.uint8)
    assert l1(dark, bright).item() == 1
    assert l1(bright, dark).item() == 1


def test_fractions_of_grey_levels_count():
    assert l1(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.4)).item() == 0.4000000059604645


def test_any_distance_may_be_asked_for_and_learned_ones_only_at_the_ends(toy):
    dataset = toy.Toy()
    known = asked.setting(dataset, cycles=12)
    from counterbench.plugins import registry

    metric = registry.metrics.get("composition")(known, distances=["l1", "pixel"])
    assert [cell.cycles for cell in metric.cells if cell.space == "l1"] == list(range(1, 13))
    assert [cell.cycles for cell in metric.cells if cell.space == "pixel"] == [1, 10, 12]
    curve = registry.metrics.get("composition")(known, distances=["pixel"], curve=True)
    assert len(curve.cells) == 12
