import resource

import numpy as np
import pytest
import torch
from PIL import Image

from counterbench import datasets
from counterbench.datasets.celeba import BALD, NO_BEARD, SIZES
from counterbench.errors import CacheWarning, DataError

NAMES = ["Smiling", "Eyeglasses", "Young", "Male", "No_Beard", "Bald", "Wavy_Hair"]


@pytest.fixture(scope="module", params=["celeba-simple", "celeba-complex"])
def portraits(request):
    return datasets.load(request.param)


def test_sizes_are_as_the_card_says(portraits):
    assert portraits.card.sources["portraits"].sizes == SIZES
    for name, size in SIZES.items():
        assert {len(value) for value in portraits.attributes(name).values()} == {size}


def test_everybody_is_somebody_else(portraits):
    everyone = torch.cat([portraits.behind.draws(name).hidden["traits"] for name in SIZES])
    assert len(everyone.unique(dim=0)) == len(everyone)


def test_truth_of_the_factual_values_is_the_factual_image(portraits):
    rows = torch.arange(20)
    factual = portraits.split("test").take(rows)
    for name in (None, *portraits.card.attributes):
        truth = portraits.truth("test", rows, {name: factual[name]} if name else {})
        assert torch.equal(truth["image"], factual["image"])
        assert all(torch.equal(truth[other], factual[other]) for other in portraits.card.attributes)


def test_both_cards_show_the_same_people():
    simple, complex_ = (datasets.load(name).split("test") for name in ("celeba-simple", "celeba-complex"))
    assert torch.equal(simple.values["image"], complex_.values["image"])


def test_causes_follow_the_mechanisms():
    dataset = datasets.load("celeba-complex")
    found = dataset.attributes("train")
    for young in (0, 1):
        for male in (0, 1):
            rows = (found["young"] == young) & (found["male"] == male)
            for name, table in (("no_beard", NO_BEARD), ("bald", BALD)):
                assert found[name][rows].double().mean() == pytest.approx(float(table[young, male]), abs=0.025)


def test_truth_carries_an_intervention_to_the_consequences():
    dataset = datasets.load("celeba-complex")
    rows = torch.arange(2000)
    factual = dataset.split("test").take(rows)
    women = dataset.true_attributes("test", rows, {"male": torch.zeros(2000, dtype=torch.long)})
    assert (women["no_beard"] >= factual["no_beard"]).all()  # luck stays, the probability grows
    assert (women["bald"] <= factual["bald"]).all()
    assert (women["no_beard"] != factual["no_beard"]).any()
    unchanged = factual["male"] == 0
    assert torch.equal(women["bald"][unchanged], factual["bald"][unchanged])
    held = dataset.true_attributes("test", rows, {"no_beard": 1 - factual["no_beard"]})
    assert torch.equal(held["bald"], factual["bald"])
    assert torch.equal(held["no_beard"], 1 - factual["no_beard"])


# --- the published layout ---------------------------------------------------------------------------------------------


def write_celeba(folder, count=24):
    """A few pictures in the layout of the archive: 178 x 218, 1-based names, -1 and 1."""
    (folder / "img_align_celeba").mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"{number:06d}.jpg" for number in range(1, count + 1)]
    labels = rng.choice([-1, 1], (count, len(NAMES)))
    for number, name in enumerate(names):
        picture = np.full((218, 178, 3), 40 + 8 * (number % 20), np.uint8)
        picture[34:184, 14:164, 0] = 200  # what the central 150 x 150 pixels show
        Image.fromarray(picture).save(folder / "img_align_celeba" / name, quality=95)
    rows = [f"{name} {' '.join(map(str, row))}" for name, row in zip(names, labels, strict=True)]
    (folder / "list_attr_celeba.txt").write_text("\n".join([str(count), " ".join(NAMES), *rows]) + "\n")
    partition = [0 if number < 12 else 1 if number < 18 else 2 for number in range(count)]
    (folder / "list_eval_partition.txt").write_text(
        "".join(f"{n} {p}\n" for n, p in zip(names, partition, strict=True))
    )
    (folder / "identity_CelebA.txt").write_text("".join(f"{n} {1 + i // 2}\n" for i, n in enumerate(names)))
    return labels


def replace(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def write_bomb(path):
    """A header that promises 400 million pixels."""
    Image.new("1", (20_000, 20_000)).save(path, format="PNG")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data", write_celeba(tmp_path / "data" / "celeba")


def test_the_published_layout_is_read(tree):
    folder, labels = tree
    dataset = datasets.load("celeba-complex", "celeba", data_dir=folder)
    train, test = dataset.split("train"), dataset.split("test")
    assert len(train) == 12
    assert len(test) == 6
    assert train.values["image"].shape == (12, 3, 64, 64)
    assert train.values["young"].tolist() == [int(v > 0) for v in labels[:12, NAMES.index("Young")]]
    assert test.group.tolist() == [10, 10, 11, 11, 12, 12]
    red = train.values["image"][:, 0, 2:-2, 2:-2].float()  # at the edge JPEG mixes neighbours
    assert (red - 200).abs().max() < 8  # the crop shows the middle and nothing else
    assert (train.values["image"][:, 0].float() - 200).abs().max() < 40
    assert not dataset.knows_truth({"young"})


def test_validation_and_judges_share_nobody(tree):
    dataset = datasets.load("celeba-simple", "celeba", data_dir=tree[0])
    validation, judge = (set(dataset.split(name).group.tolist()) for name in ("validation", "judge"))
    assert validation | judge == {7, 8, 9}
    assert not validation & judge
    assert all(number % 2 for number in judge)


def test_pictures_are_decoded_once_and_mapped(tree, monkeypatch):
    from counterbench.datasets.files import celeba

    first = datasets.load("celeba-simple", "celeba", data_dir=tree[0]).split("train")
    monkeypatch.setattr(celeba, "_picture", lambda path: pytest.fail("decoded again"))
    again = datasets.load("celeba-simple", "celeba", data_dir=tree[0]).split("train")
    assert torch.equal(first.values["image"], again.values["image"])
    assert again.fingerprint == first.fingerprint


@pytest.mark.parametrize("damage", ["cut", "emptied", "overwritten"])
def test_a_damaged_cache_is_decoded_anew(tree, damage):
    first = datasets.load("celeba-simple", "celeba", data_dir=tree[0]).split("train").fingerprint
    (stored,) = (tree[0].parent / "cache").rglob("train.safetensors")
    content = stored.read_bytes()
    half = len(content) // 2
    stored.write_bytes({"cut": content[:half], "emptied": b"", "overwritten": content[:half] + bytes(half)}[damage])
    assert datasets.load("celeba-simple", "celeba", data_dir=tree[0]).split("train").fingerprint == first


def test_other_pictures_of_the_same_size_are_not_taken_for_the_old_ones(tree):
    path = tree[0] / "celeba/img_align_celeba/000001.jpg"
    Image.new("RGB", (178, 218), (9, 9, 9)).save(path, format="BMP")
    size = path.stat().st_size
    first = datasets.load("celeba-simple", "celeba", data_dir=tree[0]).split("train").values["image"][0]
    Image.new("RGB", (178, 218), (99, 99, 99)).save(path, format="BMP")
    assert path.stat().st_size == size
    second = datasets.load("celeba-simple", "celeba", data_dir=tree[0]).split("train").values["image"][0]
    assert first.unique().tolist() == [9]
    assert second.unique().tolist() == [99]


@pytest.mark.parametrize("limit", ["folder", "disk"])
def test_a_cache_that_cannot_be_written_costs_a_warning(tree, monkeypatch, limit):
    cache = tree[0].parent / "cache"
    if limit == "folder":
        monkeypatch.setenv("COUNTERBENCH_CACHE", "/dev/null/cache")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == "disk":  # files end where the disk would
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.warns(CacheWarning, match="cannot be written"):
            image = datasets.load("celeba-simple", "celeba", data_dir=tree[0]).split("train").values["image"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert image.shape == (12, 3, 64, 64)
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "identity_CelebA.txt").unlink(), "lacks identity_CelebA.txt"),
        (lambda f: (f / "list_attr_celeba.txt").write_text("1\nSmiling\n000001.jpg 1\n"), "has no column 'Eyeglasses'"),
        (lambda f: (f / "list_eval_partition.txt").write_text("000001.jpg 0\n"), "name different pictures"),
        (lambda f: (f / "list_eval_partition.txt").write_text("000001.jpg x\n"), "line 1"),
        (lambda f: (f / "img_align_celeba/000003.jpg").unlink(), "000003.jpg is listed but missing"),
        (lambda f: (f / "img_align_celeba/000003.jpg").write_bytes(b"no jpeg"), "is no image that can be read"),
        (lambda f: Image.new("RGB", (64, 64)).save(f / "img_align_celeba/000003.jpg"), "is 64 x 64"),
        (
            lambda f: Image.new("RGB", (1024, 1024)).save(f / "img_align_celeba/000003.jpg"),
            "expected 178 x 218: aligned",
        ),
        (lambda f: write_bomb(f / "img_align_celeba/000003.jpg"), "is no image that can be read"),
        (lambda f: replace(f / "identity_CelebA.txt", " 12", f" {10**30}"), "identity_CelebA.txt, line 23"),
        (
            lambda f: replace(f / "list_eval_partition.txt", "24.jpg 2", "24.jpg 7"),
            "000024.jpg is in part 7; expected 0",
        ),
        (lambda f: replace(f / "list_eval_partition.txt", " 2", " 0"), "has no picture in part 2"),
        (
            lambda f: replace(f / "identity_CelebA.txt", "13.jpg 7", "13.jpg 2"),
            r"000004.jpg is in part 0 and 000013.jpg in part 1, but both show person 2 .*1 person is in two parts",
        ),
    ],
)
def test_damage_is_named(tree, damage, message):
    damage(tree[0] / "celeba")
    with pytest.raises(DataError, match=message):
        datasets.load("celeba-simple", "celeba", data_dir=tree[0]).split("train")


def test_without_a_folder_the_source_says_what_it_needs():
    with pytest.raises(DataError, match="needs the published files"):
        datasets.load("celeba-simple", "celeba").split("train")


def test_download_goes_through_torchvision(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("torchvision.datasets.CelebA", lambda *given, **named: asked.append((given, named)))
    datasets.load("celeba-complex", "celeba", data_dir=tmp_path).download()
    assert asked == [((str(tmp_path),), {"split": "all", "download": True})]


def test_a_download_that_cannot_be_says_so(tmp_path, monkeypatch):
    def refused(*given, **named):
        raise RuntimeError("quota exceeded")

    monkeypatch.setattr("torchvision.datasets.CelebA", refused)
    with pytest.raises(DataError, match=r"could not be downloaded \(quota exceeded\)\. Fetch .* by hand"):
        datasets.load("celeba-simple", "celeba", data_dir=tmp_path).download()
    with pytest.raises(DataError, match="needs a folder"):
        datasets.load("celeba-simple", "celeba").download()
    with pytest.raises(DataError, match="needs no download"):
        datasets.load("celeba-simple").download()
    with pytest.raises(DataError, match="cannot be downloaded by a program"):
        datasets.load("adni", "adni").download()
