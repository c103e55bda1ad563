"""Image files; one that eight bits, one picture or three colours cannot hold without loss is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from counterbench.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Formats that are read, by Pillow's names."""
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_BITS_PER_SAMPLE = 258  # tag of a TIFF


class PictureError(DataError):
    """A picture that cannot be read, or not without losing something.

    Args:
        path: of its file.
        why: what is wrong with it, as the end of a sentence that begins with its name.
    """

    def __init__(self, path: Path, why: str):
        self.why = why
        super().__init__(f"{path} {why}")


class PictureSizeError(PictureError):
    """A picture of another size than it must have."""


def read_picture(
    path: Path, channels: int, *, size: tuple[int, int] | None = None, formats: Sequence[str] = FORMATS
) -> PIL.Image.Image:
    """A picture in 8 bits per channel, turned upright as its EXIF data say.

    Args:
        path: of its file.
        channels: 1 for grey levels (Pillow's mode L), otherwise three colours (RGB).
        size: (width, height) in pixels that it must have; None for any.
        formats: those that are allowed, among :data:`FORMATS`.

    Raises:
        PictureSizeError: for another size, before anything is decoded.
        PictureError: for what is damaged or of another format, and for what an image of 8 bits does not hold: more bits,
            several pictures, transparent pixels, inks, colours where there is one channel.
    """
    try:
        if not path.is_file():
            raise PictureError(path, "is no file")
        with PIL.Image.open(path, formats=FORMATS) as opened:
            _require_size(opened, path, size)
            _require_plain(opened, path, formats)
            return _decoded(opened, path, channels)
    except PictureError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        raise PictureError(path, f"is no image that can be read ({error})") from error


def _require_size(opened: PIL.Image.Image, path: Path, size: tuple[int, int] | None) -> None:
    if size is not None and opened.size != size:
        raise PictureSizeError(path, f"is {opened.width} x {opened.height} pixels; expected {size[0]} x {size[1]}")


def _require_plain(opened: PIL.Image.Image, path: Path, formats: Sequence[str]) -> None:
    """Raise PictureError for what the header says and eight bits, one picture and three colours do not hold."""
    if opened.format not in formats and not (opened.format == "MPO" and "JPEG" in formats):
        raise PictureError(path, f"is a {opened.format}, not a {' or '.join(formats)}")
    if (count := getattr(opened, "n_frames", 1)) > 1:
        raise PictureError(path, f"holds {count} pictures, of which only the first would be seen; save one per file")
    if _bits(opened, path) > 8:
        raise PictureError(
            path, "has more than 8 bits; reduce them to grey levels 0 to 255 yourself: how decides what is seen"
        )
    if opened.mode not in _MODES:
        raise PictureError(path, f"has the colours {opened.mode}; save it as RGB or in grey levels")


def _bits(opened: PIL.Image.Image, path: Path) -> int:
    """Per channel, as the file says; the mode that Pillow reads it as does not always tell."""
    if opened.mode[0] in "IF":
        return 16
    if opened.format == "PNG":
        with path.open("rb") as stream:
            return stream.read(25)[24]
    if opened.format == "TIFF":
        return int(max(opened.tag_v2.get(_BITS_PER_SAMPLE, (1,))))  # type: ignore[attr-defined]
    if opened.format == "PPM":
        brightest = [part for tile in opened.tile for part in tile.args if isinstance(part, int)]  # type: ignore[attr-defined]
        return max(brightest, default=255).bit_length()
    return 8


def _decoded(opened: PIL.Image.Image, path: Path, channels: int) -> PIL.Image.Image:
    alpha = "A" in opened.getbands() or "transparency" in opened.info
    if alpha and (np.asarray(opened.convert("RGBA"))[..., 3] != 255).any():
        raise PictureError(
            path, "has transparent pixels; put it on a background yourself: which one decides what is seen"
        )
    picture = PIL.ImageOps.exif_transpose(opened).convert("RGB")
    if channels > 1:
        return picture
    colours = np.asarray(picture)
    if (colours != colours[..., :1]).any():
        raise PictureError(path, "has colours; expected one channel: make it grey yourself")
    return picture.getchannel(0)
