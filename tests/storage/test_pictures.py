import io
import os
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from counterbench.storage.pictures import PictureError, PictureSizeError, read_picture

GREY = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)


def png(samples, colour, bits, width=8, height=8):
    """A PNG with samples as they are: (8, 8, C)."""
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in samples)
    parts = (
        b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0),
        b"IDAT" + zlib.compress(rows),
        b"IEND",
    )
    chunks = b"".join(struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff(samples, bits):
    """An uncompressed TIFF of RGB samples, which Pillow itself does not write with 16 bits."""
    body = samples.astype(f"<u{bits // 8}").tobytes()
    at = 8 + len(body)
    entries = [
        (256, 3, 1, samples.shape[1]), (257, 3, 1, samples.shape[0]), (258, 3, 3, at), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 8),
        (277, 3, 1, 3), (278, 3, 1, samples.shape[0]), (279, 4, 1, len(body)),
    ]  # fmt: skip
    folder = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", at + 6) + body + struct.pack("<HHH", bits, bits, bits) + folder


def encoded(images, **options):
    stream = io.BytesIO()
    images[0].save(stream, append_images=images[1:], **options)
    return stream.getvalue()


COLOURS = np.dstack([GREY, GREY, GREY])
SEVERAL = [PIL.Image.fromarray(GREY), PIL.Image.fromarray(GREY.T)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (png(COLOURS.astype(int) * 257, 2, 16), "more than 8 bits"),
        (png(np.dstack([GREY, GREY * 0 + 255]).astype(int) * 257, 4, 16), "more than 8 bits"),
        (png(GREY[..., None].astype(int) * 16, 0, 16), "more than 8 bits"),
        (tiff(COLOURS.astype(int) * 257, 16), "more than 8 bits"),
        (b"P6 8 8 65535\n" + (COLOURS.astype(">u2") * 257).tobytes(), "more than 8 bits"),
        (b"P6 8 8 4095\n" + (COLOURS.astype(">u2") * 16).tobytes(), "more than 8 bits"),
        (encoded(SEVERAL, format="GIF", save_all=True), "holds 2 pictures"),
        (encoded(SEVERAL, format="PNG", save_all=True), "holds 2 pictures"),
        (encoded(SEVERAL, format="TIFF", save_all=True), "holds 2 pictures"),
        (encoded(SEVERAL, format="WEBP", save_all=True, lossless=True), "holds 2 pictures"),
        (encoded([PIL.Image.new("CMYK", (8, 8))], format="JPEG"), "has the colours CMYK"),
        (encoded([PIL.Image.fromarray(GREY).convert("LA").point(lambda v: v // 2)], format="PNG"), "transparent"),
        (png(COLOURS, 2, 8, 20_000, 20_000), "no image that can be read"),
        (encoded([PIL.Image.fromarray(GREY)], format="PNG")[:45], "no image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "no image that can be read"),
    ],
)  # fmt: skip
def test_what_would_be_lost_is_refused(tmp_path, content, why):
    path = tmp_path / "picture"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=f"^{path} .*{why}") as caught:
        read_picture(path, 3)
    assert str(caught.value) == f"{path} {caught.value.why}"


@pytest.mark.parametrize(
    "content",
    [
        png(COLOURS, 2, 8),
        tiff(COLOURS, 8),
        b"P6 8 8 255\n" + COLOURS.tobytes(),
        b"P5 8 8 255\n" + GREY.tobytes(),
        *(
            encoded([PIL.Image.fromarray(GREY).convert(mode)], format=kind, **options)
            for mode, kind, options in (
                ("L", "PNG", {}),
                ("P", "PNG", {}),
                ("LA", "PNG", {}),
                ("RGBA", "PNG", {}),
                ("P", "GIF", {}),
                ("RGB", "BMP", {}),
                ("L", "BMP", {}),
                ("RGB", "WEBP", {"lossless": True}),
                ("L", "TIFF", {"compression": "tiff_deflate"}),
            )
        ),
    ],
)
def test_eight_bits_are_read_as_they_are(tmp_path, content):
    path = tmp_path / "picture"
    path.write_bytes(content)
    assert np.array_equal(read_picture(path, 1, size=(8, 8)), GREY)
    assert np.array_equal(read_picture(path, 3), COLOURS)


def test_colours_are_not_reduced_to_one_channel(tmp_path):
    path = tmp_path / "picture.png"
    PIL.Image.fromarray(np.dstack([GREY, GREY, GREY // 2])).save(path)
    assert read_picture(path, 3).mode == "RGB"
    with pytest.raises(PictureError, match="has colours; expected one channel"):
        read_picture(path, 1)


def test_another_size_is_told_before_anything_is_decoded(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(png(COLOURS, 2, 8, 9_000, 9_000))  # the pixels are not there
    with pytest.raises(PictureSizeError, match="is 9000 x 9000 pixels; expected 8 x 8"):
        read_picture(path, 3, size=(8, 8))


def test_pictures_stand_upright(tmp_path):
    path = tmp_path / "picture.png"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    PIL.Image.fromarray(GREY).save(path, exif=exif)
    assert np.array_equal(read_picture(path, 1), np.rot90(GREY, -1))


def test_a_pipe_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "picture.png")
    with pytest.raises(PictureError, match="is no file"):
        read_picture(tmp_path / "picture.png", 1)
