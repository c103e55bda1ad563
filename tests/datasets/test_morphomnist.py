import gzip
import io
import math
import tracemalloc

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy import stats

from counterbench import datasets
from counterbench.cli import main
from counterbench.datasets.files import glyphs
from counterbench.datasets.files.idx import read_idx
from counterbench.datasets.morphomnist import intensity_of, noise_of_intensity
from counterbench.errors import DataError, UnknownNameError
from counterbench.storage.tensors import sha256_of_tensors


def test_sizes_are_as_the_card_says(morphomnist):
    for split, size in morphomnist.card.sources["digits"].sizes.items():
        assert len(morphomnist.attributes(split)["digit"]) == size
    sizes = morphomnist.card.sources["digits"].sizes
    assert sizes["train"] >= 12_000
    assert min(sizes["validation"], sizes["test"]) >= 2_000


def test_no_base_digit_is_in_two_splits(morphomnist):
    bases = {split: set(morphomnist.behind.draws(split).group.tolist()) for split in morphomnist.splits}
    assert sum(len(b) for b in bases.values()) == len(set().union(*bases.values())) == 1797


def test_the_generating_process_is_the_published_one(morphomnist):
    drawn = morphomnist.attributes("train")
    thickness, intensity = drawn["thickness"], drawn["intensity"]
    assert stats.kstest(thickness.numpy() - 0.5, "gamma", args=(10, 0, 1 / 5)).pvalue > 0.01
    assert stats.kstest(noise_of_intensity(thickness, intensity).numpy(), "norm").pvalue > 0.01
    assert np.corrcoef(thickness, intensity)[0, 1] == pytest.approx(0.908, abs=0.01)
    assert abs(stats.spearmanr(thickness, drawn["digit"]).statistic) < 0.03


def test_noise_of_intensity_inverts_its_mechanism():
    thickness, noise = torch.linspace(0.9, 6, 50), torch.linspace(-3, 3, 50)
    assert torch.allclose(noise_of_intensity(thickness, intensity_of(thickness, noise)), noise.double(), atol=1e-6)


def test_truth_of_setting_the_factual_values_is_the_factual_image(morphomnist):
    rows = torch.arange(20)
    factual = morphomnist.split("test").take(rows)
    for held in (
        {},
        {"thickness": factual["thickness"]},
        {"thickness": factual["thickness"], "intensity": factual["intensity"]},
    ):
        truth = morphomnist.truth("test", rows, held)
        assert torch.equal(truth["image"], factual["image"])
        assert torch.allclose(truth["intensity"], factual["intensity"], atol=1e-3)


def test_truth_asked_first_while_evaluating_can_be_asked_afterwards():
    rows = torch.arange(2)
    fresh = datasets.load("morphomnist")
    with torch.inference_mode():
        inside = fresh.truth("test", rows, {})
    assert torch.equal(fresh.truth("test", rows, {})["image"], inside["image"])


def test_thickness_changes_intensity_but_not_the_other_way(morphomnist):
    rows = torch.arange(10)
    factual = morphomnist.split("test").take(rows)
    thicker = morphomnist.true_attributes("test", rows, {"thickness": factual["thickness"] + 1})
    assert (thicker["intensity"] > factual["intensity"]).all()
    noise = [noise_of_intensity(v["thickness"], v["intensity"]) for v in (factual, thicker)]
    assert torch.allclose(noise[0], noise[1], atol=2e-2)
    brighter = morphomnist.true_attributes("test", rows, {"intensity": factual["intensity"] * 0 + 200})
    assert torch.equal(brighter["thickness"], factual["thickness"])


def test_reference_images_are_training_images_and_cost_only_themselves(morphomnist, tmp_path, monkeypatch):
    from counterbench import datasets

    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path))
    fresh = datasets.load("morphomnist")
    alone = fresh.reference(40)
    assert [path.stem for path in tmp_path.rglob("*.safetensors")] == ["reference-40"]
    rows = fresh.reference_rows(40)
    assert torch.equal(alone.values["image"], fresh.behind.rendered("train", rows).values["image"])
    assert torch.equal(alone.values["thickness"], fresh.attributes("train")["thickness"][rows])
    monkeypatch.setattr(type(fresh), "split", lambda self, name: alone)  # pretend: the whole split
    assert len(rows.unique()) == 40
    assert (rows.diff() > 0).all()
    assert torch.equal(rows, fresh.reference_rows(40))


def test_true_images_show_the_true_attributes(morphomnist):
    from counterbench import judges

    rows = torch.arange(60)
    panels = judges.load(morphomnist.card, "digits")
    truth = morphomnist.truth("test", rows, {"thickness": torch.full((60,), 3.5)})
    assert float((panels["thickness"].measure(truth["image"]).value - 3.5).abs().mean()) < 0.12
    assert float((panels["intensity"].measure(truth["image"]).value - truth["intensity"]).abs().mean()) < 3


def test_nobody_knows_the_other_digit(morphomnist):
    held = {"digit": torch.tensor([3])}
    assert not morphomnist.knows_truth(held)
    assert morphomnist.true_attributes("test", torch.tensor([0]), held)["digit"].tolist() == [3]
    with pytest.raises(DataError, match=r"no true counterfactual for do\(digit\)"):
        morphomnist.truth("test", torch.tensor([0]), held)


def test_unknown_split_and_source():
    with pytest.raises(DataError, match="Did you mean 'test'"):
        datasets.load("morphomnist").split("tests")
    with pytest.raises(UnknownNameError, match="Known: digits, mnist"):
        datasets.load("morphomnist", "digit")
    with pytest.raises(UnknownNameError, match="Did you mean 'morphomnist'"):
        datasets.load("morphomist")


def idx(values):
    header = b"\0\0\x08" + bytes([values.ndim]) + b"".join(int(size).to_bytes(4, "big") for size in values.shape)
    return header + values.astype(np.uint8).tobytes()


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A tiny MNIST in the published layout: 60 training and 12 test images, with the published csv beside it."""
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for stem, count in (("train", 60), ("t10k", 12)):
        images = np.zeros((count, 28, 28))
        images[:, 8:20, 12:15] = 255
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images), mtime=0))
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(rng.integers(0, 10, count)), mtime=0))
        rows = [f"{i},{2 + 0.01 * i},{150 + i}" for i in range(count)]
        (tmp_path / "data" / f"{stem}-morpho.csv").write_text("index,thickness,intensity\n" + "\n".join(rows))
    return tmp_path / "data"


def test_published_layout(published):
    dataset = datasets.load("morphomnist", "mnist", data_dir=published)
    assert {split: len(dataset.split(split)) for split in dataset.splits} == {
        "train": 48,
        "validation": 2,
        "judge": 10,
        "test": 12,
    }
    test = dataset.split("test").take()
    assert test["thickness"][3].item() == pytest.approx(2.03)
    assert test["image"].shape == (12, 1, 32, 32)
    assert float(test["image"].amax()) > 140
    assert dataset.split("train").values["thickness"][0] == 2.0
    assert (
        datasets.load("morphomnist", "mnist", data_dir=published).split("test").fingerprint
        == dataset.split("test").fingerprint
    )


def test_without_the_csv_attributes_are_drawn(published):
    dataset = datasets.load("morphomnist", "mnist", data_dir=published)
    assert dataset.notes[0] == "attributes: published (csv files)"
    (published / "t10k-morpho.csv").unlink()
    with pytest.raises(DataError, match="need both, or neither"):
        datasets.load("morphomnist", "mnist", data_dir=published).attributes("train")
    (published / "train-morpho.csv").unlink()
    assert "drawn" in datasets.load("morphomnist", "mnist", data_dir=published).notes[0]
    drawn = datasets.load("morphomnist", "mnist", data_dir=published).attributes("test")
    assert drawn["thickness"][3].item() != pytest.approx(2.03)
    noise = noise_of_intensity(drawn["thickness"], drawn["intensity"])
    assert noise.abs().max() < 5


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("mnist/t10k-images-idx3-ubyte.gz", b"not gzip", "cannot be read"),
        (
            "mnist/t10k-images-idx3-ubyte.gz",
            gzip.compress(b"\0\0\x08\x03" + b"\0\0\0\x02" * 3 + b"12345", mtime=0),
            "holds 5; it is truncated",
        ),
        ("mnist/t10k-images-idx3-ubyte.gz", gzip.compress(b"PNG...", mtime=0), "not an IDX file"),
        ("mnist/t10k-labels-idx1-ubyte.gz", gzip.compress(idx(np.zeros(5)), mtime=0), "expected (N, 28, 28) and N"),
        ("t10k-morpho.csv", b"index,thick\n0,1", "must have the columns"),
        ("t10k-morpho.csv", b"index,thickness,intensity\n0,nan,100", "finite values"),
        ("t10k-morpho.csv", b"index,thickness,intensity\n0,2,100", "1 rows for 12 images"),
        ("t10k-morpho.csv", b"index,thickness,intensity\n1,2,100\n0,3,90", "0, 1, 2, ... in this order"),
        ("t10k-morpho.csv", b"index,thickness,intensity\n0,2,100\n1,-5,90", "thickness of row 1 is -5; expected more"),
        (
            "t10k-morpho.csv",
            b"index,thickness,intensity\n0,2,255",
            "intensity of row 0 is 255; expected grey levels between",
        ),
        (
            "mnist/t10k-labels-idx1-ubyte.gz",
            gzip.compress(idx(np.full(12, 200)), mtime=0),
            "label 0 is 200; MNIST's labels are",
        ),
        (
            "mnist/t10k-images-idx3-ubyte.gz",
            gzip.compress(idx(np.full((12, 28, 28), 255)), mtime=0),
            "image 0 is bright at its edge",
        ),
        (
            "mnist/t10k-images-idx3-ubyte.gz",
            gzip.compress(idx(np.ones((12, 28, 28))), mtime=0),
            "image 0 has no bright pixel",
        ),
        (
            "mnist/t10k-images-idx3-ubyte.gz",
            gzip.compress(idx(np.ones((0, 28, 28))), mtime=0),
            "expected (N, 28, 28) and N, at least 1",
        ),
        (
            "mnist/t10k-images-idx3-ubyte.gz",
            gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12, mtime=0),
            "more than 1073741824",
        ),
        (
            "mnist/t10k-images-idx3-ubyte.gz",
            gzip.compress(b"\0\0\x08\x46" + b"\0\0\0\x01" * 70, mtime=0),
            "not an IDX file",
        ),
        ("mnist/t10k-images-idx3-ubyte.gz", gzip.compress(b"\0\0\x08\x03\0", mtime=0), "it is truncated"),
    ],
)
def test_damaged_files_are_named(published, name, content, words):
    (published / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        datasets.load("morphomnist", "mnist", data_dir=published).split("test")
    assert words in str(caught.value)


def test_no_more_is_unpacked_than_the_header_announces(published):
    """200 MB of zeros in 200 KB."""
    packed = io.BytesIO()
    with gzip.open(packed, "wb", compresslevel=1) as stream:
        stream.write(idx(np.zeros(12)))
        for _ in range(200):
            stream.write(bytes(1_000_000))
    (published / "mnist/t10k-labels-idx1-ubyte.gz").write_bytes(packed.getvalue())
    tracemalloc.start()
    with pytest.raises(DataError, match="announces 12 bytes but holds more"):
        read_idx(published / "mnist/t10k-labels-idx1-ubyte.gz")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["images-idx3", "labels-idx1"])
def test_half_of_mnist_is_not_replaced_by_a_download(published, monkeypatch, name):
    monkeypatch.setattr(glyphs, "_download", lambda: pytest.fail("looked elsewhere"))
    (published / f"mnist/t10k-{name}-ubyte.gz").unlink()
    with pytest.raises(DataError, match="lacks t10k-images-idx3-ubyte or t10k-labels-idx1-ubyte"):
        datasets.load("morphomnist", "mnist", data_dir=published).split("test")


def test_names_with_a_point_are_found(published, monkeypatch):
    first = datasets.load("morphomnist", "mnist", data_dir=published).split("test").fingerprint
    for path in list((published / "mnist").glob("*.gz")):
        path.with_name(path.stem.replace("-idx", ".idx")).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    monkeypatch.setattr(glyphs, "_download", lambda: pytest.fail("looked elsewhere"))
    assert datasets.load("morphomnist", "mnist", data_dir=published).split("test").fingerprint == first


def test_other_handwriting_is_told(published, monkeypatch):
    dataset = datasets.load("morphomnist", "mnist", data_dir=published)
    assert dataset.notes[1:] == [
        "handwriting: not MNIST as published (other images or labels in the files train and t10k)"
    ]
    files = (published / f"mnist/t10k-{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1"))
    images, labels = map(read_idx, files)
    monkeypatch.setitem(glyphs.PUBLISHED, False, sha256_of_tensors({"images": images, "labels": labels}))
    assert dataset.notes[1:] == ["handwriting: not MNIST as published (other images or labels in the files train)"]


def test_prepare_prints_what_to_know(published):
    arguments = ["data", "prepare", "--source", "mnist", "--data-dir", str(published), "--split", "test", "-q"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert "attributes: published (csv files)\nhandwriting: not MNIST as published" in result.output


def test_missing_mnist_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path))
    import torchvision.datasets

    def offline(*args, **kwargs):
        raise RuntimeError("no network")

    monkeypatch.setattr(torchvision.datasets, "MNIST", offline)
    with pytest.raises(DataError, match="--source digits, which needs no download"):
        datasets.load("morphomnist", "mnist", data_dir=tmp_path).split("test")
    with pytest.raises(DataError, match="does not exist"):
        datasets.load("morphomnist", "mnist", data_dir=tmp_path / "nowhere")


def test_a_damaged_cache_is_rendered_anew(published):
    from counterbench.storage.files import cache_folder

    first = datasets.load("morphomnist", "mnist", data_dir=published).split("test")
    (stored,) = cache_folder().rglob("test.safetensors")
    raw = bytearray(stored.read_bytes())
    raw[-5] ^= 255
    stored.write_bytes(raw)
    assert datasets.load("morphomnist", "mnist", data_dir=published).split("test").fingerprint == first.fingerprint
    stored.write_bytes(raw[: len(raw) // 2])
    assert datasets.load("morphomnist", "mnist", data_dir=published).split("test").fingerprint == first.fingerprint


def test_fingerprint_of_the_default_test_split(morphomnist):
    """Pinned: records of different machines are comparable only if they render the same bytes."""
    assert morphomnist.split("test").fingerprint.startswith("c31ea850")
    assert math.isclose(float(morphomnist.attributes("test")["thickness"].min()), 0.8717, abs_tol=1e-4)
