"""Base glyphs of MorphoMNIST: where the handwriting comes from."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from counterbench.datasets.files.idx import read_idx
from counterbench.errors import DataError
from counterbench.processes.strokes import OUTLINE, upsample
from counterbench.storage.files import cache_folder
from counterbench.storage.tensors import sha256_of_tensors

_CELL = 10  # samples per cell of an 8 x 8 digit: a cell is 2.5 px, a px is 4 samples
_MARGIN = 2  # empty cells around it
_PEN = 4.4  # half the width of the traced stroke, in samples
_BRIGHT = 128  # grey level that every digit reaches and no edge of an image does

PUBLISHED = {
    True: "b267d954b8c5c8dd85f07f78f1f43f9c0c8a68eae2b50e3430a845a9339aeb46",
    False: "019f0a166d12727a16ab199dd227dfa586d928ba98b1af7a3543e61271701192",
}
"""SHA-256 of MNIST's images and labels: of its training files, of its test files."""


@dataclass(frozen=True)
class Glyphs:
    """Handwritten digits before thickness, intensity and pose are set.

    Args:
        images: (B, S, S).
        labels: (B,), which digit.
    """

    images: Tensor
    labels: Tensor


def optical_digits() -> Glyphs:
    """The 1,797 8 x 8 digits that scikit-learn ships, values 0 to 16."""
    from sklearn.datasets import load_digits

    bundle = load_digits()
    return Glyphs(torch.from_numpy(bundle.images), torch.from_numpy(bundle.target).long())


def trace(images: Tensor) -> Tensor:
    """Trace 8 x 8 digits to pen strokes of even width.

    An 8 x 8 digit records where the pen went, not how wide it was: strokes fade and merge. So it is sharpened against its
    surroundings, binarised against its local maximum, thinned to the pen's path, and that path is drawn with one pen.

    Args:
        images: (N, 8, 8).

    Returns:
        (N, 120, 120), float64, 0 to 1: 4 samples per pixel, margins included.
    """
    from skimage.morphology import skeletonize

    padded = functional.pad(images.to(torch.float64), (_MARGIN,) * 4)
    smooth = upsample(padded, _CELL).numpy()
    sharp = np.clip(smooth - 0.8 * _blur(smooth, 1.25 * _CELL), 0, None)
    window = 5 * _CELL + 1
    nearby = _blur(ndimage.maximum_filter(sharp, size=(1, window, window)), _CELL)
    ink = (sharp >= 0.4 * nearby) & (smooth > 0.2 * smooth.max((1, 2), keepdims=True))
    paths = [skeletonize(_without_specks(glyph)) for glyph in ink]
    reach = [ndimage.distance_transform_edt(~path) for path in paths]
    return torch.from_numpy(np.clip((_PEN - np.stack(reach)) / 4 + 0.5, 0, 1))


def _blur(images: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a batch, as one matrix product per axis."""
    matrix = ndimage.gaussian_filter1d(np.eye(images.shape[-1]), sigma, axis=0, mode="reflect")
    blurred: np.ndarray = (matrix @ images @ matrix.T).round(9)
    return blurred


def _without_specks(ink: np.ndarray) -> np.ndarray:
    parts, count = ndimage.label(ink, np.ones((3, 3)))
    areas = ndimage.sum_labels(ink, parts, np.arange(1, count + 1))
    return np.isin(parts, 1 + np.flatnonzero(areas > 0.08 * areas.max()))


BEND = (2, 4, 4)
"""Shape of a bend: how far the knots of a grid move to the right and down, in standard deviations."""
_BEND_SPREAD, _BEND_MOST = 0.06, 2.0  # standard deviation in half sides of the picture, and where draws are cut


def bent(strokes: Tensor, bend: Tensor) -> Tensor:
    """Deform traced strokes smoothly, and so that they can be deformed back: no line is torn, and none crosses another.

    Args:
        strokes: (N, S, S).
        bend: (N, 2, 4, 4), standard normal draws.

    Returns:
        (N, S, S), float64.
    """
    grid = displaced(bend, strokes.shape[-1])
    sampled = functional.grid_sample(
        strokes[:, None].double(), grid, mode="bilinear", padding_mode="zeros", align_corners=True
    )
    return sampled[:, 0]


def displaced(bend: Tensor, side: int) -> Tensor:
    """Where every sample of a bent picture comes from: (N, side, side, 2), right and down, from -1 to 1."""
    knots = _BEND_SPREAD * bend.double().clamp(-_BEND_MOST, _BEND_MOST)
    shift = functional.interpolate(knots, (side, side), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    at = torch.linspace(-1, 1, side, dtype=torch.float64)
    return torch.stack(torch.meshgrid(at, at, indexing="xy"), -1) + shift


def posed(strokes: Tensor, pose: Tensor) -> Tensor:
    """Rotate, slant, scale and shift traced strokes onto the 4x outline grid.

    Args:
        strokes: (N, 120, 120).
        pose: (N, 5): rotation (rad), slant (tangent), log size, shift right and shift down (px).

    Returns:
        (N, 112, 112), float64, 0 to 1.
    """
    rotation, slant, log_size, right, down = pose.to(torch.float64).unbind(1)
    ratio = OUTLINE / strokes.shape[-1]
    shrink = ratio * torch.exp(-log_size)
    cosine, sine = torch.cos(rotation), torch.sin(rotation)
    half = strokes.shape[-1] / 8  # half the source's side in px
    first = torch.stack([shrink * cosine, shrink * (slant * cosine - sine), -right / half], 1)
    second = torch.stack([shrink * sine, shrink * (slant * sine + cosine), -down / half], 1)
    grid = functional.affine_grid(
        torch.stack([first, second], 1), [len(strokes), 1, OUTLINE, OUTLINE], align_corners=False
    )
    sampled = functional.grid_sample(strokes[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled[:, 0]


def mnist(data_dir: Path | None, train: bool) -> Glyphs:
    """MNIST from the user's folder, else from torchvision's download.

    Raises:
        DataError: if it is neither there nor to be had, or is no handwriting in MNIST's manner: white digits on black.
    """
    stem = "train" if train else "t10k"
    names = (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
    folder = data_dir if any(_find(data_dir, name) for name in names) else _download()
    images, labels = (_find(folder, name) for name in names)
    if images is None or labels is None:
        raise DataError(f"{folder} lacks {' or '.join(names)} (.gz or not); both are needed.")
    pixels, digits = read_idx(images), read_idx(labels)
    if pixels.shape[1:] != (28, 28) or digits.shape != pixels.shape[:1] or not len(pixels):
        raise DataError(
            f"{images} holds {tuple(pixels.shape)} and {labels} {' x '.join(map(str, digits.shape))} labels; expected (N, 28, 28) and N, "
            "at least 1."
        )
    _require(digits <= 9, labels, lambda row: f"label {row} is {digits[row]}; MNIST's labels are the digits 0 to 9")
    _require_white_on_black(pixels, images)
    return Glyphs(pixels, digits.long())


def _require_white_on_black(pixels: Tensor, path: Path) -> None:
    """Raise DataError for the first image with a bright edge, or without ink."""
    edge = torch.ones(28, 28, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    wanted = "MNIST's images are white digits on black, 0 to 255"
    _require(
        pixels[:, edge].double().mean(1) < _BRIGHT, path, lambda row: f"image {row} is bright at its edge; {wanted}"
    )
    _require(pixels.amax((1, 2)) >= _BRIGHT, path, lambda row: f"image {row} has no bright pixel; {wanted}")


def _require(fine: Tensor, path: Path, said: Callable[[int], str]) -> None:
    """Raise DataError about the first row, counted from 0, that is not fine."""
    odd = (~fine).nonzero()[:, 0]
    if len(odd):
        raise DataError(f"{path}: {said(int(odd[0]))} ({len(odd)} of {len(fine)} are like that).")


def is_published(glyphs: Glyphs, train: bool) -> bool:
    """Whether these are MNIST's own images and labels: the same bytes, however they were packed."""
    content = {"images": glyphs.images, "labels": glyphs.labels.to(torch.uint8)}
    return sha256_of_tensors(content) == PUBLISHED[train]


def _find(folder: Path | None, stem: str) -> Path | None:
    """The file called `stem`, or with a point before its format, as unpacking programs write it."""
    if folder is None:
        return None
    names = [f"{name}{end}" for name in (stem, stem.replace("-idx", ".idx")) for end in (".gz", "")]
    places = [folder / place / name for place in ("", "mnist", "MNIST/raw") for name in names]
    return next((place for place in places if place.is_file()), None)


def _download() -> Path:
    folder = cache_folder() / "downloads"
    try:
        from torchvision.datasets import MNIST

        MNIST(str(folder), train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            "MNIST was not found and could not be downloaded. Put its four IDX files (train and t10k, images and labels) in a "
            "folder and give it with --data-dir or COUNTERBENCH_DATA; or use --source digits, which needs no download."
        ) from error
    return folder


def published_attributes(data_dir: Path | None, train: bool) -> tuple[Tensor, Tensor] | None:
    """(thickness, intensity) of the published set, float32, or None where its csv file is not at hand.

    Raises:
        DataError: if the file is not what it should be.
    """
    name = f"{'train' if train else 't10k'}-morpho.csv"
    places = [data_dir / folder / name for folder in ("", "morphomnist")] if data_dir else []
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    partner = path.with_name(f"{'t10k' if train else 'train'}-morpho.csv")
    if not partner.is_file():
        raise DataError(f"{path} is there but {partner.name} is not; the published attributes need both, or neither.")
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [
                (int(row["index"]), float(row["thickness"]), float(row["intensity"])) for row in csv.DictReader(stream)
            ]
    except (KeyError, ValueError, TypeError, OSError, csv.Error) as error:
        raise DataError(
            f"{path} must have the columns index, thickness and intensity, all numbers ({error})."
        ) from error
    index = [row[0] for row in rows]
    table = torch.tensor([row[1:] for row in rows], dtype=torch.float32).reshape(-1, 2)
    if not rows or not table.isfinite().all() or index != list(range(len(rows))):
        raise DataError(
            f"{path} must number its rows 0, 1, 2, ... in this order, one per image, and hold finite values only."
        )
    thickness, intensity = table.unbind(1)
    _require(
        thickness > 0.5, path, lambda row: f"thickness of row {row} is {thickness[row]:g}; expected more than 0.5 px"
    )
    _require(
        (intensity > 64) & (intensity < 255),
        path,
        lambda row: f"intensity of row {row} is {intensity[row]:g}; expected grey levels between 64 and 255",
    )
    return thickness, intensity
