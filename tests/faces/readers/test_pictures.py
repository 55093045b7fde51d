"""Pictures of every kind as stored pixels."""

import io
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import resize

from emobench.errors import UserError
from emobench.faces.readers.archives import Member
from emobench.faces.readers.pictures import decode

NOISE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def member(image: Image.Image, form: str = "PNG", **options) -> Member:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return Member("a", buffer.tell(), partial(io.BytesIO, buffer.getvalue()))


def test_a_picture_of_the_stored_size_keeps_its_pixels() -> None:
    square = NOISE[:, :30]
    found = decode("a", member(Image.fromarray(square)), 30, 3)
    np.testing.assert_array_equal(found.pixels, square)
    assert (found.cut, found.enlarged) == (False, False)
    grey = decode("a", member(Image.fromarray(square)), 30, 1).pixels
    np.testing.assert_allclose(grey, square @ [0.299, 0.587, 0.114], atol=0.6)


def test_resizing_is_antialiased_as_torchvision_does_it() -> None:
    square = np.ascontiguousarray(NOISE[:, :30])
    wanted = resize(torch.from_numpy(square).permute(2, 0, 1), [11, 11], antialias=True).permute(1, 2, 0).numpy()
    found = decode("a", member(Image.fromarray(square)), 11, 3).pixels
    np.testing.assert_allclose(found.astype(int), wanted, atol=1)


def test_a_box_is_cut_out_before_resizing() -> None:
    found = decode("a", member(Image.fromarray(NOISE)), 10, 3, (5, 2, 15, 12))
    np.testing.assert_array_equal(found.pixels, NOISE[2:12, 5:15])
    for box in ((0, 0, 41, 10), (-1, 0, 5, 5), (5, 5, 5, 9)):
        with pytest.raises(UserError, match="the box .* leaves its 40x30 pixels"):
            decode("a", member(Image.fromarray(NOISE)), 10, 3, box)


def test_a_camera_that_was_held_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    square = Image.fromarray(NOISE[:, :30])
    found = decode("a", member(square, exif=exif), 30, 3).pixels
    np.testing.assert_array_equal(found, np.rot90(NOISE[:, :30], -1))


def test_sixteen_bits_and_transparency() -> None:
    levels = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    found = decode("a", member(Image.fromarray(levels)), 16, 1).pixels
    np.testing.assert_array_equal(found, np.arange(256).reshape(16, 16))
    clear = np.dstack([NOISE[:20, :20], np.zeros((20, 20), np.uint8)])
    assert not decode("a", member(Image.fromarray(clear)), 20, 3).pixels.any()


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_other_modes(mode) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    found = decode("a", member(Image.fromarray(NOISE).convert(mode), form), 24, 3).pixels
    assert (found.shape, found.dtype) == ((24, 24, 3), np.uint8)


def test_a_picture_of_too_many_pixels(monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 800)
    with pytest.raises(UserError, match="a: can't be decoded .*decompression bomb"):
        decode("a", member(Image.fromarray(NOISE)), 24, 3)
