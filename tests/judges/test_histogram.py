import numpy as np
import pytest
import torch

from counterbench.causal.variables import Continuous
from counterbench.errors import ConfigError
from counterbench.judges.histogram import Histogram, HistogramReader, soft_histogram
from counterbench.storage.weights import save_weights

MIDDLE = ((0.25, 0.75),) * 3


def boxes(count=60, seed=0):
    """Volumes of a bright box with a dark hole in its middle, seen by two scanners: (images, sizes of the hole, scanner).

    What the second one sees is darker by a quarter, and stands for a hole of twice the size.
    """
    rng = np.random.default_rng(seed)
    images, sizes, scanner = torch.zeros(count, 1, 16, 16, 16), [], []
    for row in range(count):
        side, kind = int(rng.integers(2, 7)), int(rng.integers(0, 2))
        bright, dark = ((220, 80), (165, 60))[kind]
        images[row, 0, 2:14, 2:14, 2:14] = bright
        first = 8 - side // 2
        images[row, 0, first : first + side, 6:10, 6:10] = dark
        sizes.append(side * (16.0, 32.0)[kind])
        scanner.append(kind)
    return images, torch.tensor(sizes), torch.tensor(scanner)


def test_a_soft_histogram_counts_everything_once():
    values = torch.rand(5, 400, dtype=torch.float64) + 0.15
    assert torch.allclose(soft_histogram(values, 20).sum(1), torch.full((5,), 400.0, dtype=torch.float64))
    middles = np.linspace(0.15, 1.15, 20)
    expected = [np.clip(1 - np.abs(values[0].numpy() - middle) / (1 / 19), 0, None).sum() for middle in middles]
    assert np.allclose(soft_histogram(values[:1], 20)[0].numpy(), expected)


def test_volumes_of_parts_are_read_whatever_the_scanner(tmp_path):
    images, sizes, scanner = boxes()
    reader = HistogramReader(12, 2, MIDDLE)
    reader.fit(reader.features(images), sizes, scanner)
    sha256 = save_weights(reader, tmp_path / "w.safetensors")
    judge = Histogram(
        Continuous("hole", 0, 200),
        middle=MIDDLE,
        bins=12,
        contrasts=2,
        weights=tmp_path / "w.safetensors",
        sha256=sha256,
    )
    unseen, truth, kinds = boxes(40, 1)
    error = (judge.measure(unseen) - truth).abs()
    for kind in (0, 1):
        assert error[kinds == kind].mean() < 0.1 * truth.std()
    assert torch.allclose(judge.measure(unseen[3:4]), judge.measure(unseen)[3:4])
    assert judge.measure(torch.zeros(1, 1, 16, 16, 16)).isfinite().all()


def test_without_weights_it_says_so():
    with pytest.raises(ConfigError, match="is a fitted calibration and needs the key 'weights'"):
        Histogram(Continuous("hole", 0, 200), middle=MIDDLE)
