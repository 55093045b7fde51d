"""One picture file as stored pixels: any common format, size and colour; grey or RGB, square, resized once."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from emobench.errors import UserError
from emobench.faces.readers.archives import Member, content

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MAX_BYTES = 1 << 26
"""A photograph needs a few million; a larger entry is refused before it is unpacked."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Picture:
    """Stored pixels, and what was done to get them."""

    pixels: np.ndarray
    cut: bool
    enlarged: bool


def decode(where: str, member: Member, size: int, channels: int, box: Box | None = None) -> Picture:
    """Reads a picture.

    Args:
        where: its name in messages.
        member: the file.
        size: side of the stored square, in pixels.
        channels: 1 for grey, 3 for RGB.
        box: left, top, right, bottom of the part to take, in pixels; None for all.

    Raises:
        UserError: not a picture, too large, damaged, or the box leaves it.
    """
    data = content(where, member, MAX_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return fitted(where, _upright(image), size, channels, box)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        text = " ".join(str(error).split("<_io")[0].split())  # without the memory address that Pillow adds
        raise UserError(f"{where}: can't be decoded ({text}); expected a picture ({', '.join(FORMATS)})") from None


def fitted(where: str, image: Image.Image, size: int, channels: int, box: Box | None = None) -> Picture:
    """The middle square of a picture (or of a box in it) as uint8 (size, size) or (size, size, 3), antialiased."""
    width, height = image.size
    left, top, right, bottom = box or (0, 0, width, height)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise UserError(f"{where}: the box {left:g}, {top:g}, {right:g}, {bottom:g} leaves its {width}x{height} pixels")
    left, top, width, height = round(left), round(top), round(right - left), round(bottom - top)
    side = max(min(width, height), 1)
    left, top = left + (width - side) // 2, top + (height - side) // 2
    # Cropped first: a filter that is given a box looks at the pixels around it too.
    square = image if image.size == (side, side) else image.crop((left, top, left + side, top + side))
    square = _plain(square).convert("L" if channels == 1 else "RGB")
    if side != size:
        square = square.resize((size, size), Image.Resampling.BILINEAR)
    return Picture(np.asarray(square), width != height, side < size)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its camera said; pictures without such a note stay as they are."""
    return ImageOps.exif_transpose(image) if image.getexif().get(0x0112, 1) != 1 else image


def _plain(image: Image.Image) -> Image.Image:
    """Sixteen bits as eight (Pillow would clip them), and what is transparent as black."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        clear = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "black"), clear)
    return image
