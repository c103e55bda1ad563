import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy import stats

from counterbench import datasets
from counterbench.cli import main
from counterbench.datasets.adni import brain_volume_of, ventricular_volume_of
from counterbench.datasets.files import adni, volumes
from counterbench.errors import DataError

nibabel = pytest.importorskip("nibabel")


@pytest.fixture(scope="module", params=["template", "phantom"])
def phantom(request):
    """The sources with a known process: real anatomy, and the analytic phantom."""
    return datasets.load("adni", request.param)


@pytest.fixture(scope="module")
def heads():
    return datasets.load("adni-3d")


def test_real_anatomy_is_the_default():
    assert datasets.load("adni").source == datasets.load("adni-3d").source == "template"


def test_sizes_are_as_the_card_says_and_no_subject_is_in_two_splits(phantom, heads):
    for dataset in (phantom, heads):
        for split, size in dataset.card.sources[dataset.source].sizes.items():
            assert len(dataset.attributes(split)["age"]) == size


def test_heads_have_true_counterfactuals_and_roles(heads):
    rows = torch.arange(3)
    factual = heads.split("test").take(rows)
    assert factual["image"].shape == (3, 1, 48, 48, 48)
    assert "slice" not in heads.attributes("test")
    again = heads.truth("test", rows, {name: factual[name] for name in ("age", "brain_volume")})
    assert torch.equal(again["image"], factual["image"].float())
    older = heads.truth("test", rows, {"age": factual["age"] + 12})
    assert "slice" not in older
    assert (older["ventricular_volume"] > 1.3 * factual["ventricular_volume"]).all()
    assert (older["image"] - factual["image"]).abs().mean() > 0.2
    assert heads.role("mask", "test", rows).shape == (3, 48, 48, 48)
    assert "Head of somebody aged" in heads.role("caption", "test", rows)[0]
    with pytest.raises(DataError, match="carry no 'boxes'"):
        heads.role("boxes", "test", rows)


def test_of_large_volumes_fewer_are_held_for_comparison(heads):
    assert len(heads.reference_rows(10_000)) == 2_000  # all there are
    finer = datasets.load("adni-3d-96")
    assert len(finer.reference_rows(10_000)) == 416
    assert len(finer.reference_rows(100)) == 100
    assert len(datasets.load("adni-192").reference_rows(10_000)) == 10_000


def test_an_unseen_test_split_has_other_heads(heads):
    unseen = datasets.load("adni-3d")
    unseen.take_exam_seed(5)
    assert not torch.equal(unseen.attributes("test")["age"], heads.attributes("test")["age"])


def test_volumes_lie_in_published_ranges(phantom):
    """Memory-clinic cohorts: brain 1,010 +- 105 mL, ventricles 38 +- 20 mL, larger with age."""
    found = phantom.attributes("train")
    assert 980 < found["brain_volume"].mean() < 1040
    assert 70 < found["brain_volume"].std() < 120
    assert 30 < found["ventricular_volume"].mean() < 45
    assert stats.spearmanr(found["age"], found["ventricular_volume"]).statistic > 0.3
    assert stats.spearmanr(found["age"], found["brain_volume"]).statistic < -0.2
    men = found["sex"] == 1
    assert found["brain_volume"][men].mean() - found["brain_volume"][~men].mean() == pytest.approx(95, abs=10)


def test_truth_of_the_factual_values_is_the_factual_image(phantom):
    rows = torch.arange(12)
    factual = phantom.split("test").take(rows)
    for names in ((), ("age",), ("age", "sex", "apoe"), ("brain_volume", "ventricular_volume", "slice")):
        truth = phantom.truth("test", rows, {name: factual[name] for name in names})
        assert torch.equal(truth["image"], factual["image"])
        assert torch.allclose(truth["brain_volume"], factual["brain_volume"])


def test_truth_carries_an_intervention_down_the_graph(phantom):
    rows = torch.arange(20)
    factual = phantom.split("test").take(rows)
    older = phantom.truth("test", rows, {"age": factual["age"] + 10})
    assert torch.allclose(older["brain_volume"], factual["brain_volume"] - 40, atol=1e-2)
    assert torch.allclose(
        older["ventricular_volume"].log() - factual["ventricular_volume"].log(),
        torch.full((20,), 0.3 + 0.04),
        atol=1e-3,
    )
    held = phantom.truth("test", rows, {"age": factual["age"] + 10, "brain_volume": factual["brain_volume"]})
    assert torch.equal(held["brain_volume"], factual["brain_volume"])
    fixed = phantom.truth("test", rows, {"ventricular_volume": factual["ventricular_volume"] + 5})
    assert torch.equal(fixed["brain_volume"], factual["brain_volume"])
    assert torch.equal(fixed["age"], factual["age"])


def test_mechanisms_are_monotone_in_age():
    age, zero = torch.linspace(55, 90, 20), torch.zeros(20)
    assert (brain_volume_of(age, zero, zero, zero).diff() < 0).all()
    assert (ventricular_volume_of(age, zero + 1000, zero).diff() > 0).all()


def test_roles(phantom):
    rows = torch.arange(40)
    assert phantom.role("mask", "test", rows).shape == (40, 64, 64)
    lesion = phantom.role("label", "test", rows)
    shown = ~phantom.role("boxes", "test", rows).isnan().any(1)
    assert not shown[lesion == 0].any()
    assert shown.any()  # of the template's lesions a slice may miss one
    assert torch.equal(phantom.role("identity", "test", rows), phantom.split("test").group[:40])
    assert set(phantom.role("domain", "test", rows).tolist()) == {0, 1, 2}
    assert "years" in phantom.role("caption", "test", rows)[0]
    with pytest.raises(DataError, match="carry no 'caption'"):
        datasets.load("morphomnist").role("caption", "test", rows)


def test_visits_of_a_subject_share_the_anatomy(phantom):
    draws = phantom.behind.draws("test")
    for subject in range(3):
        rows = (draws.group == subject).nonzero()[:, 0]
        assert len(rows) == 8
        assert (draws.hidden["traits"][rows] == draws.hidden["traits"][rows[0]]).all()
        assert len(draws.attributes["age"][rows].unique()) == 2


# --- the published layout ---------------------------------------------------------------------------------------------

HEADER = "RID,PTID,VISCODE,EXAMDATE,AGE,Years_bl,PTGENDER,APOE4,WholeBrain,Ventricles\n"


def write_adni(folder, subjects=60, *, varied=False):
    """A few subjects with two visits, in the layout of the archive; of one volume, or of volumes that differ."""
    folder.mkdir(parents=True)
    lines, rng = [HEADER], np.random.default_rng(0)
    for number in range(subjects):
        subject = f"{number:03d}_S_{1000 + number}"
        for visit, day in (("bl", "2006-04-18"), ("m12", "2007-05-02")):
            years = 0.0 if visit == "bl" else 1.04
            lines.append(
                f"{number},{subject},{visit},{day},70.5,{years},{'Male' if number % 2 else 'Female'},{number % 3},{1000123 + varied * 2000 * number},40456\n"
            )
            volume = np.zeros((60, 70, 30), np.float32)
            volume[20:40, 20:50] = 50 + 50 * rng.random((20, 30, 30), dtype=np.float32)
            path = folder / "volumes" / subject / f"{day}_08_20_30.0" / f"brain_{visit}.nii.gz"
            path.parent.mkdir(parents=True)
            nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    (folder / "ADNIMERGE.csv").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return datasets.load("adni", "adni", data_dir=write_adni(tmp_path_factory.mktemp("adni") / "adni").parent)


def test_scans_are_read_with_their_visits(published):
    splits = {name: published.split(name) for name in published.splits}
    assert sum(len(split) for split in splits.values()) == 60 * 2 * 10
    train = splits["train"]
    assert train.values["image"].shape[1:] == (1, 64, 64)
    assert train.values["image"].max() > 200
    assert sorted(set(train.values["age"].tolist())) == pytest.approx([70.5, 71.54])
    assert train.values["brain_volume"][0] == pytest.approx(1000.123)
    assert train.values["slice"].tolist()[:10] == list(range(10))
    assert (train.group.bincount() == 20).all()


def test_no_subject_is_in_two_splits(published):
    names = [scan.subject for scan in adni.scans(published.data_dir)[0]]
    homes = adni.split_of(names)
    assert set(homes.values()) == set(adni.SHARES)
    assert adni.split_of([*names, "999_S_9999"]) == {
        **homes,
        "999_S_9999": adni.split_of(["999_S_9999"])["999_S_9999"],
    }


def save(path, volume, origin, turned=0.0):
    """A volume of 1 mm whose first voxel lies at `origin`, turned round the axis from left to right by some degrees."""
    affine = np.eye(4)
    cosine, sine = np.cos(np.deg2rad(turned)), np.sin(np.deg2rad(turned))
    affine[1:3, 1:3] = [[cosine, -sine], [sine, cosine]]
    affine[:3, 3] = origin
    nibabel.save(nibabel.Nifti1Image(volume, affine), path)


@pytest.fixture
def brain():
    """An uneven brain of 140 x 170 x 130 mm in the box of MNI152, whose first voxel lies at (-91, -126, -72)."""
    volume = np.zeros((182, 218, 182), np.float32)
    volume[20:160, 24:194, 22:152] = np.random.default_rng(0).uniform(50, 200, (140, 170, 130))
    return volume


def test_the_box_of_mni152_shows_its_central_slices(tmp_path, brain):
    """Slices 86 to 95, voxels 1 to 180 from the left and 19 to 198 from the back."""
    save(tmp_path / "a.nii.gz", brain, (-91, -126, -72))
    white = np.percentile(brain[brain > 0], 99.5)
    central = torch.from_numpy(brain[1:181, 19:199, 86:96] / white).permute(2, 1, 0).flip(1)
    square = torch.nn.functional.interpolate(central[:, None], (64, 64), mode="bilinear", antialias=True)
    assert torch.equal(adni.slices(tmp_path / "a.nii.gz", 64), (255 * square).round().clamp(0, 255).to(torch.uint8))


def test_slices_are_counted_in_space_and_not_in_the_array(tmp_path, brain):
    save(tmp_path / "whole.nii.gz", brain, (-91, -126, -72))
    neck = np.concatenate([np.zeros((182, 218, 30), np.float32), brain], 2)
    save(tmp_path / "neck.nii.gz", neck, (-91, -126, -102))
    save(tmp_path / "cropped.nii.gz", brain[15:165, 20:200, 30:], (-76, -106, -42))
    whole, neck, cropped = (adni.slices(tmp_path / f"{n}.nii.gz", 64) for n in ("whole", "neck", "cropped"))
    assert torch.equal(neck, whole)
    assert (cropped.float() - whole.float()).abs().max() <= 3  # the white level is taken from what is left


@pytest.mark.parametrize(
    ("origin", "turned", "message"),
    [
        ((-91, -126, -372), 0, "reaches from -372 to -191 mm in height, and the slices from 14 to 23 mm are needed"),
        ((-91, -126, 60), 0, "reaches from 60 to 241 mm in height"),
        ((-51, -126, -72), 0, r"has 205700 of 238000 bright voxels in the 180 x 180 mm where MNI space has the brain"),
        ((-91, 500, -72), 0, r"has 0 of \d+ bright voxels"),
        ((-591, -126, -72), 0, r"has 0 of \d+ bright voxels"),
        ((-91, -126, -72), 10, "lies oblique in space"),
    ],
)
def test_what_is_not_in_mni_space_is_refused(tmp_path, brain, origin, turned, message):
    save(tmp_path / "a.nii.gz", brain, origin, turned)
    with pytest.raises(DataError, match=rf"a\.nii\.gz {message}.*register it to MNI space, 1 mm"):
        adni.slices(tmp_path / "a.nii.gz", 64)


def test_a_volume_that_says_not_where_it_lies_is_refused(tmp_path, brain):
    """Nobody knows which side is left."""
    nibabel.save(nibabel.Nifti1Image(brain, None), tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match="does not say where it lies nor which side is left"):
        adni.slices(tmp_path / "a.nii.gz", 64)


def test_a_scan_with_its_skull_in_noise_is_refused(tmp_path, brain):
    save(tmp_path / "a.nii.gz", np.maximum(brain, 30), (-91, -126, -72))
    with pytest.raises(DataError, match="strip the skull"):
        adni.slices(tmp_path / "a.nii.gz", 64)


def test_the_nose_points_up_whatever_the_orientation_of_the_file(tmp_path):
    volume = np.zeros((181, 181, 20), np.float32)
    volume[60:120, 120:170] = 100  # in front (positive y), in RAS
    save(tmp_path / "a.nii.gz", volume, (-90, -107, 10))
    backwards = np.diag([1.0, -1.0, 1.0, 1.0])
    backwards[:3, 3] = (-90, -107 + 180, 10)
    nibabel.save(nibabel.Nifti1Image(volume[:, ::-1], backwards), tmp_path / "b.nii.gz")
    first, second = (adni.slices(tmp_path / name, 64) for name in ("a.nii.gz", "b.nii.gz"))
    assert torch.equal(first, second)
    assert first[:, :, :32].float().mean() > 10 * first[:, :, 32:].float().mean()


def test_the_same_reader_gives_whole_heads(tmp_path):
    data = write_adni(tmp_path / "adni").parent
    whole, sliced = (datasets.load(name, "adni", data_dir=data) for name in ("adni-3d", "adni"))
    for split in ("train", "test"):
        assert len(whole.split(split)) * 10 == len(sliced.split(split))
    images = whole.split("train").values["image"]
    assert images.shape[1:] == (1, 48, 48, 48)
    # The box of the files: 20 to 40 mm to the right, 20 to 50 mm to the front, 0 to 30 mm up.
    seen = (images[0, 0] > 20).nonzero()
    low, high = seen.amin(0).tolist(), seen.amax(0).tolist()
    assert [(low[0], high[0]), (low[2], high[2])] == [
        (22, 30),
        (29, 33),
    ]  # voxels of 4 mm from -91 mm up and from -96 mm to the right
    assert (low[1], high[1]) == (7, 14)  # from 79 mm in front backwards
    assert not whole.knows_truth(["age"])


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float64])
def test_a_head_is_the_same_however_its_file_is_laid_out(tmp_path, flips, order, kind):
    """Orientation, order of the axes, datatype and scale of the numbers are the file's affair."""
    rng = np.random.default_rng(0)
    volume = np.zeros((160, 190, 150))
    volume[40:120, 50:150, 30:120] = rng.integers(60, 240, (80, 100, 90))
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, 3] = (-80, -105, -60)
    nibabel.save(nibabel.Nifti1Image(volume.astype(np.float32), affine), tmp_path / "plain.nii.gz")
    turned, there = volume, affine.copy()
    for axis, flip in enumerate(flips):
        if flip < 0:
            turned = np.flip(turned, axis)
            there[:3, 3] += there[:3, axis] * (volume.shape[axis] - 1)
            there[:3, axis] *= -1
    turned, there = turned.transpose(order), there[:, [*order, 3]]
    image = nibabel.Nifti1Image(turned.astype(kind), there)
    if kind is np.int16:
        image = nibabel.Nifti1Image((turned * 3).astype(kind), there)
        image.header.set_slope_inter(1 / 3, 0)
    nibabel.save(image, tmp_path / "odd.nii.gz")
    plain, odd = (volumes.head(tmp_path / name, 48) for name in ("plain.nii.gz", "odd.nii.gz"))
    assert (plain.float() - odd.float()).abs().max() <= 1
    assert plain.float().mean() > 5


def test_a_scan_without_a_visit_is_left_out_aloud(tmp_path):
    folder = write_adni(tmp_path / "adni", 2)
    for name in ("000_S_1000/2012-01-01", "no_subject/2006-04-18"):
        path = folder / "volumes" / name / "late.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes((folder / "volumes/000_S_1000/2006-04-18_08_20_30.0/brain_bl.nii.gz").read_bytes())
    found, notes = adni.scans(tmp_path)
    assert len(found) == 4
    assert len(notes) == 2
    assert "no complete visit within" in notes[1]
    assert datasets.load("adni", "adni", data_dir=tmp_path).notes == notes  # as every record says
    assert datasets.load("adni").notes == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "ADNIMERGE.csv").unlink(), "holds ADNIMERGE.csv"),
        (lambda f: (f / "ADNIMERGE.csv").write_text("RID,PTID\n1,2\n"), "has no column EXAMDATE"),
        (
            lambda f: (f / "ADNIMERGE.csv").write_text(HEADER + "1,000_S_1000,bl,2006-04-18,old,0,Male,0,1,1\n"),
            "line 2 cannot be understood",
        ),
        (lambda f: (f / "ADNIMERGE.csv").write_text(HEADER), "None of the"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, damage, message):
    folder = write_adni(tmp_path / "adni", 1)
    damage(folder)
    with pytest.raises(DataError, match=message):
        adni.scans(tmp_path)


def test_a_damaged_volume_is_named(tmp_path):
    (tmp_path / "x.nii.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"x\.nii\.gz is no volume that can be read"):
        adni.slices(tmp_path / "x.nii.gz", 64)


def test_without_a_folder_the_source_says_what_it_needs():
    with pytest.raises(DataError, match="needs the published files"):
        datasets.load("adni", "adni").split("train")


def test_what_preparation_leaves_beside_the_registered_volume_is_not_read(tmp_path):
    folder = write_adni(tmp_path / "adni", 1)
    home = next((folder / "volumes").rglob("*.nii.gz")).parent
    (whole,) = home.glob("*.nii.gz")
    for name in ("raw.nii.gz", "brain_mask.nii.gz"):
        (home / name).write_bytes(whole.read_bytes())
    with pytest.raises(DataError, match=r"3 volumes of .* and 0 of them are called registered\*"):
        adni.scans(tmp_path)
    whole.rename(home / "registered.nii.gz")
    found, _ = adni.scans(tmp_path)
    assert len(found) == 2
    assert sum(scan.path.name == "registered.nii.gz" for scan in found) == 1


def scan_of(folder, day, name):
    """The volume of one day, moved into the folder of a series."""
    (whole,) = [path for path in folder.rglob("*.nii.gz") if day in str(path)][:1]
    home = whole.parents[1] / name / f"{day}_08_20_30.0"
    home.mkdir(parents=True)
    whole.rename(home / "registered.nii.gz")
    return home / "registered.nii.gz"


def test_of_scans_repeated_on_a_day_the_first_is_read(tmp_path):
    folder = write_adni(tmp_path / "adni", 1)
    before, _ = adni.scans(tmp_path)
    first = scan_of(folder, before[0].day.isoformat(), "MPR__GradWarp")
    for series in ("MPR-R__GradWarp", "MP-RAGE_REPEAT"):
        other = first.parents[2] / series / first.parent.name
        other.mkdir(parents=True)
        (other / "registered.nii.gz").write_bytes(first.read_bytes())
    found, notes = adni.scans(tmp_path)
    assert len(found) == len(before)
    assert first in [scan.path for scan in found]
    assert "2 volumes left out: scans repeated on the same day" in notes


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("002_S_1029/MPRAGE/2012-04-18_08_20_30.0/I7/a.nii", "2012-04-18"),
        ("download_2023-05-17/002_S_1029/MPRAGE/2012-04-18_08_20_30.0/I7/a.nii", "2012-04-18"),
        ("002_S_1029/MPRAGE/2012-04-18_08_20_30.0/I7/made_20230517.nii", "2012-04-18"),
        ("002_S_1029_20120418.nii", "2012-04-18"),
        ("2023-05-17/002_S_1029_2012-04-18/a.nii", "2012-04-18"),
        ("2023-05-17/002_S_1029/a.nii", None),  # the day of a scan, or of a download
        ("002_S_1029/2012-04-18/registered_2023-05-17.nii", None),
        ("002_S_1029/2012-04-18/002_S_1030.nii", None),
    ],
)
def test_the_day_of_a_scan_stands_below_its_subject(path, day):
    named = adni._named(Path(path))
    assert named == (day and ("002_S_1029", adni.date.fromisoformat(day)))


def test_numbers_of_subjects_may_have_five_digits():
    """Cut to four, they would be those of somebody else."""
    day = adni.date(2012, 4, 18)
    assert adni._named(Path("002_S_10295/MPRAGE/2012-04-18/a.nii")) == ("002_S_10295", day)
    assert adni._named(Path("002_S_1029/MPRAGE/2012-04-18/a.nii")) == ("002_S_1029", day)


def test_visits_with_codes_for_missing_are_incomplete(tmp_path):
    path = tmp_path / "ADNIMERGE.csv"
    rows = ["1,000_S_1000,bl,2006-04-18,70,0,Male,-4,1,1", "2,000_S_1001,bl,2006-04-18,70,0,Unknown,0,1,1"]
    path.write_text(HEADER + "\n".join([*rows, "3,000_S_1002,bl,2006-04-18,70,0,Male,0,1,1"]) + "\n")
    assert list(adni._visits(path)) == ["000_S_1002"]


def test_voxels_must_be_a_millimetre(tmp_path):
    volume = np.ones((181, 181, 20), np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([0.94, 0.94, 1.2, 1.0])), tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match=r"voxels of 0\.94 x 0\.94 x 1\.20 mm; register it"):
        adni.slices(tmp_path / "a.nii.gz", 64)


ADNI = "1,{subject},bl,2006-04-18,{age},{years},Male,{apoe},{brain},40456"
SOUND = {"age": 70.5, "years": 0, "apoe": 1, "brain": 1000123}


def table(folder, **odd):
    """Ten sound visits and one that is odd, which stands in line 12."""
    lines = [ADNI.format(subject=f"000_S_{number}", **SOUND) for number in range(2000, 2010)]
    (folder / "ADNIMERGE.csv").write_text(
        HEADER + "\n".join([*lines, ADNI.format(subject="000_S_1000", **SOUND | odd)]) + "\n"
    )


@pytest.mark.parametrize("code", ["NaN", "nan", "NA", "N/A", "NULL", " ", "-4", "-4.00", "-4.0 "])
@pytest.mark.parametrize("column", ["age", "years", "apoe", "brain"])
def test_codes_of_missing_values_are_no_values(tmp_path, column, code):
    table(tmp_path, **{column: code})
    assert "000_S_1000" not in adni._visits(tmp_path / "ADNIMERGE.csv")


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"brain": -9999}, "brain_volume is not within 325 to 1775 (-9.999 in line 12)"),
        ({"brain": 0}, "brain_volume is not within 325 to 1775 (0 in line 12)"),
        ({"brain": 1000}, "brain_volume is not within 325 to 1775 (1 in line 12)"),  # millilitres
        ({"brain": "inf"}, "brain_volume is not within 325 to 1775 (inf in line 12)"),
        ({"age": -1}, "age is not within 37.5 to 107.5 (-1 in line 12)"),
        ({"apoe": 1.5}, "APOE4 is not 0, 1 or 2 (1.5 in line 12)"),
        ({"apoe": -1}, "APOE4 is not 0, 1 or 2 (-1 in line 12)"),
        ({"years": -1}, "Years_bl is negative (-1 in line 12)"),
    ],
)
def test_visits_that_cannot_be_are_left_out_aloud(tmp_path, odd, message):
    folder = write_adni(tmp_path / "adni", 1)
    table(folder, **odd)
    dataset = datasets.load("adni", "adni", data_dir=tmp_path)
    with pytest.raises(DataError) as caught:
        dataset.split("train")
    assert f"1 visit of ADNIMERGE.csv left out: {message}" in str(caught.value)
    table(folder)
    assert len(adni.scans(tmp_path, dataset.behind.ranges)[0]) == 1


def test_what_was_left_out_stands_in_the_record(tmp_path):
    folder = write_adni(tmp_path / "adni", 40)
    path = folder / "ADNIMERGE.csv"
    path.write_text(path.read_text().replace("1000123", "NaN", 2).replace("1000123", "1000", 2))
    dataset = datasets.load("adni", "adni", data_dir=tmp_path)
    assert dataset.notes == [
        "2 visits of ADNIMERGE.csv left out: brain_volume is not within 325 to 1775 (1 in line 4)",
        "4 volumes left out: no complete visit within 120 days",
    ]
    for name in dataset.splits:
        assert dataset.attributes(name)["brain_volume"].unique().tolist() == pytest.approx([1000.123])


def test_a_quantity_that_is_always_the_same_teaches_nothing(published, tmp_path):
    place = ["train-judges", "--dataset", "adni", "--source", "adni", "--data-dir", str(published.data_dir)]
    done = CliRunner().invoke(main, [*place, "--variable", "brain_volume", "--output", str(tmp_path / "o"), "-q"])
    assert done.exit_code == 1
    assert "brain_volume is 1000.12 in all" in done.output


@pytest.mark.slow
def test_judges_are_trained_on_published_files_robustly_and_by_a_teacher(tmp_path):
    """As a hospital would: judges by sex, students of them with group DRO, each read back."""
    data = write_adni(tmp_path / "adni", 120, varied=True).parent
    place = ["train-judges", "--dataset", "adni", "--source", "adni", "--data-dir", str(data)]
    shared = ["--variable", "brain_volume", "--by", "sex", "--epochs", "1", "--device", "cpu", "--quiet"]
    robust = ["--weighting", "group_dro:eta=0.05", "--teacher", str(tmp_path / "plain"), "--alpha", "0.5"]
    for name, more in (("plain", []), ("students", robust)):
        done = CliRunner().invoke(main, [*place, *shared, *more, "--output", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        assert len(list((tmp_path / name).glob("brain_volume-*.safetensors"))) == 3
    said = json.loads(done.stdout)
    assert set(said["plain"]["by_subgroup"]["brain_volume"]["adni"]) == {"sex 0", "sex 1"}
    assert sum(said["plain"]["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert set(said["recogniser"]["quality"]) == {"adni"}
