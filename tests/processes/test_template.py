import hashlib

import pytest
import torch

from counterbench.processes import anatomy, template
from counterbench.processes.anatomy import SHIFTS, Grid, times_of_tables
from counterbench.processes.template import PARTS, SHOT, TRAITS


@pytest.fixture(scope="module")
def maps():
    return anatomy.anatomy()


@pytest.fixture(scope="module")
def people():
    generator = torch.Generator().manual_seed(0)
    count = 6
    return {
        "attributes": {
            "brain_volume": torch.tensor([700.0, 850.0, 1000.0, 1000.0, 1150.0, 1350.0]),
            "ventricular_volume": torch.tensor([140.0, 60.0, 35.0, 8.0, 25.0, 12.0]),
            "slice": torch.tensor([0, 3, 5, 5, 7, 9]),
        },
        "traits": torch.rand(count, len(TRAITS), generator=generator),
        "shot": torch.rand(count, len(SHOT), generator=generator),
        "lesion": torch.tensor([1, 0, 1, 1, 0, 1]),
    }


def test_the_shipped_maps_are_those_of_the_notice(maps):
    assert hashlib.sha256(anatomy.FILE.read_bytes()).hexdigest() == anatomy.SHA256
    assert anatomy.FILE.stat().st_size < 6e6
    assert "McConnell Brain Imaging Centre" in anatomy.FILE.with_suffix(".txt").read_text()
    shares = dict(zip(anatomy.MAPS, maps.whole.values, strict=True))
    together = shares["grey"] + shares["white"] + shares["fluid"]
    assert together.max() <= 1.02
    assert (shares["ventricles"] <= shares["fluid"] + 0.02).all()
    # The template's own volumes, in litres: those that its authors publish are of this size.
    litre = maps.whole.step**3 / 1e6
    assert float(shares["grey"].sum()) * litre == pytest.approx(1.0, abs=0.05)
    assert float(shares["white"].sum()) * litre == pytest.approx(0.67, abs=0.05)


def test_deformations_are_one_to_one(maps):
    """Where no neighbours change places, the determinant of the derivative is positive; deep inside wide ventricles everything is one point."""
    points = maps.whole.points()[None]
    for time, shift in ((-8.0, -1.0), (0.0, 5.0), (12.0, 2.0)):
        there = maps.deformed(points, torch.tensor([time]), torch.tensor([shift]))[0]
        rows = [
            (there[2:, 1:-1, 1:-1] - there[:-2, 1:-1, 1:-1]) / 4,
            (there[1:-1, 2:, 1:-1] - there[1:-1, :-2, 1:-1]) / 4,
            (there[1:-1, 1:-1, 2:] - there[1:-1, 1:-1, :-2]) / 4,
        ]
        assert torch.linalg.det(torch.stack(rows, -1)).min() > 0


def test_volumes_of_the_tables_are_monotone(maps):
    for level in (0, 1):
        ratio = maps.ventricles[level] / maps.brain[level]
        assert (ratio.diff(dim=0) > 0).all()
        assert (maps.brain[level].diff(dim=1) < 0).all()
        assert ratio.min() < 5 / 1400  # the card's range lies between the ends
        assert ratio.max() > 145 / 650


def test_a_table_is_the_integral_of_the_deformed_maps(maps):
    """Points that have nothing to do with those of the table give its volumes."""
    generator = torch.Generator().manual_seed(1)
    tissue = Grid(
        torch.stack([maps.whole.values[1] + maps.whole.values[2], maps.whole.values[4]]), maps.whole.origin, 2.0
    )
    size = torch.tensor(maps.whole.values.shape[1:]) * 2.0
    points = maps.whole.origin + torch.rand(1, 400_000, 1, 1, 3, generator=generator) * size
    for row, column in ((20, 1), (45, 2)):
        time, shift = times_of_tables()[row, None], torch.tensor([SHIFTS[column]])
        mean = tissue.at(maps.deformed(points, time, shift))[0].double().flatten(1).mean(1)
        brain, ventricles = (mean * float(size.prod()) / 1000).tolist()
        assert brain == pytest.approx(float(maps.brain[0, row, column]), rel=0.01)
        assert ventricles == pytest.approx(float(maps.ventricles[0, row, column]), rel=0.03)


@pytest.mark.parametrize("side", [48, 96])
def test_volumes_of_the_rendered_maps_are_the_variables(people, side):
    rows = slice(None) if side == 48 else slice(1, 4)
    asked = {name: value[rows] for name, value in people["attributes"].items()}
    found = template.volumes(asked, people["traits"][rows], shot=people["shot"][rows], side=side)
    assert torch.allclose(found[:, 0], asked["brain_volume"], rtol=0.005)
    within = torch.maximum(0.005 * asked["ventricular_volume"], torch.tensor(0.1))  # of 8 mL a tenth of one
    assert ((found[:, 1] - asked["ventricular_volume"]).abs() <= within).all()


def test_who_somebody_is_changes_shapes_and_no_volume(people):
    """All six have the same volumes here and other traits."""
    same = {"brain_volume": torch.full((6,), 1000.0), "ventricular_volume": torch.full((6,), 40.0)}
    found = template.volumes(same, people["traits"], shot=people["shot"], side=48)
    assert found[:, 0].std() < 2
    assert found[:, 1].std() < 0.2
    heads = template.render(
        same,
        people["traits"],
        shot=people["shot"],
        scanner=torch.zeros(6, dtype=torch.long),
        lesion=torch.zeros(6),
        spatial=(48, 48, 48),
    )
    assert (heads[0].float() - heads[1].float()).abs().mean() > 3


def test_sulci_widen_as_the_brain_shrinks(people, maps):
    trait = torch.full((3,), 0.5)
    ventricles = torch.full((3,), 40.0)
    some = template.deformation_of(torch.tensor([800.0, 1000.0, 1200.0]), ventricles, trait, maps)
    assert (some.shift.diff() < 0).all()
    assert (some.scale.diff() > 0).all()


def test_larger_ventricles_are_what_a_slice_shows(people):
    small, large = (
        template.parts(
            {**people["attributes"], "ventricular_volume": torch.full((6,), volume), "slice": torch.full((6,), 6)},
            people["traits"],
            shot=people["shot"],
            lesion=torch.zeros(6, dtype=torch.long),
        )
        for volume in (15.0, 90.0)
    )
    number = PARTS.index("ventricles")
    assert ((large == number).flatten(1).sum(1) > 2 * (small == number).flatten(1).sum(1)).all()


def test_pictures_of_one_shot_have_one_noise(people):
    """A picture of the same subject with other ventricles has the same grain outside of the head."""
    scanner = torch.full((6,), 2)
    first, second = (
        template.render(
            {**people["attributes"], "ventricular_volume": torch.full((6,), volume)},
            people["traits"],
            shot=people["shot"],
            scanner=scanner,
            lesion=people["lesion"],
        )
        for volume in (20.0, 60.0)
    )
    assert torch.equal(first[:, :, :4, :12], second[:, :, :4, :12])
    assert first[:, :, :4, :12].float().std() > 2
    assert not torch.equal(first, second)


def test_the_front_is_up_and_low_planes_come_first(people):
    """The cerebellum lies low and behind: the lowest planes have their tissue in the lower half of the picture."""
    head = template.clean(
        {name: people["attributes"][name][2:3] for name in ("brain_volume", "ventricular_volume")},
        people["traits"][2:3],
        shot=people["shot"][2:3],
        lesion=torch.zeros(1, dtype=torch.long),
        spatial=(48, 48, 48),
    )[0, 0].float()
    low = head[10:14].sum(0)
    assert low[24:].sum() > 2 * low[:24].sum()
    assert head[-8:].sum() < head[8:16].sum()


def test_lesions_are_dark_and_have_boxes(people):
    shot, traits = people["shot"], people["traits"]
    boxes = template.lesion_boxes(people["attributes"], traits, shot=shot, lesion=people["lesion"])
    mask = template.parts(people["attributes"], traits, shot=shot, lesion=people["lesion"]) == PARTS.index("lesion")
    assert torch.equal(boxes.isnan().any(1), ~mask.flatten(1).any(1))
    for row in (~boxes.isnan().any(1)).nonzero()[:, 0].tolist():
        left, top, right, bottom = boxes[row].long().tolist()
        assert mask[row].sum() == mask[row, top:bottom, left:right].sum()
        without = template.clean(people["attributes"], traits, shot=shot, lesion=torch.zeros(6, dtype=torch.long))[
            row, 0
        ]
        having = template.clean(people["attributes"], traits, shot=shot, lesion=people["lesion"])[row, 0]
        assert having[mask[row]].float().mean() < without[mask[row]].float().mean()


def test_finer_pictures_show_the_same(people):
    """192 pixels averaged are nearly the picture of 64: both are of one brain."""
    same = {"shot": people["shot"], "lesion": people["lesion"]}
    coarse = template.clean(people["attributes"], people["traits"], **same, spatial=(64, 64)).float()
    fine = template.clean(people["attributes"], people["traits"], **same, spatial=(192, 192)).float()
    assert (torch.nn.functional.avg_pool2d(fine, 3) - coarse).abs().mean() < 3
