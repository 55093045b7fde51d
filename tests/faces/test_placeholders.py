"""Drawn placeholders are found; faces, also badly lit or posterised ones, pass."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from emobench.faces.placeholders import placeholder_reasons, two_tone_share
from emobench.faces.synthetic.faces import synthesize


def sign(kind: str, ground: int, ink: int, *, jpeg: bool) -> np.ndarray:
    """A placeholder as a host draws it, made small."""
    image = Image.new("L", (192, 192), ground)
    pen = ImageDraw.Draw(image)
    if kind == "text":
        font = ImageFont.load_default(16)
        pen.multiline_text((8, 4), "This picture is\n\ncurrently not\n\navailable.", ink, font, spacing=9)
    elif kind == "mark":
        pen.text((50, 0), "?", ink, ImageFont.load_default(170))
    elif kind == "warning":
        pen.polygon([(96, 50), (150, 140), (42, 140)], outline=ink, width=8)
        pen.text((88, 75), "!", ink, ImageFont.load_default(55))
    elif kind == "camera":
        pen.rectangle((40, 60, 150, 140), fill=ink)
        pen.ellipse((70, 75, 120, 125), fill=ground)
        pen.ellipse((82, 87, 108, 113), fill=ink)
    small = image.resize((48, 48), Image.Resampling.LANCZOS)
    if jpeg:
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=90)
        small = Image.open(buffer)
    return np.asarray(small)


# Not on grey with JPEG: its ringing, which white and black clip, hides the empty rows between lines of text.
@pytest.mark.parametrize(
    ("ground", "ink", "jpeg"),
    [
        *((ground, ink, jpeg) for ground, ink in ((255, 0), (255, 120), (0, 255)) for jpeg in (False, True)),
        (210, 60, False),
    ],
)
@pytest.mark.parametrize("kind", ["text", "mark", "warning", "camera"])
def test_signs_are_found(kind, ground, ink, jpeg) -> None:
    assert placeholder_reasons(sign(kind, ground, ink, jpeg=jpeg)[None])[0] in ("empty_ground", "sign", "pale_sign")


def test_blank_images_are_found() -> None:
    black, grey = np.zeros((48, 48), np.uint8), np.full((48, 48), 130, np.uint8)
    grey[10:20, 30] = 131
    ramp = np.tile(np.linspace(190, 255, 48).astype(np.uint8), (48, 1))
    assert placeholder_reasons(np.stack([black, grey, ramp])).tolist() == ["blank", "blank", "blank"]


CHANGES = {
    # how the picture is changed, and which share may be lost: more where hardly a face is left to see.
    "as drawn": (lambda faces: faces, 0),
    "negative": (lambda faces: 255 - faces, 0),
    "dark": (lambda faces: faces * 0.3, 0.005),
    "faded": (lambda faces: faces * 0.3 + 120, 0.005),
    "underexposed": (lambda faces: faces - 60, 0.01),
    "overexposed": (lambda faces: faces * 1.5, 0.02),
    "two tones": (lambda faces: (faces > np.median(faces, axis=(1, 2), keepdims=True)) * 255.0, 0.02),
    "four tones": (lambda faces: np.round(faces / 85) * 85, 0.07),
}


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return synthesize(400, 5).images.astype(np.float32)


@pytest.mark.parametrize("change", CHANGES)
def test_faces_pass(change, faces) -> None:
    function, lost = CHANGES[change]
    reasons = placeholder_reasons(np.clip(function(faces), 0, 255).astype(np.uint8))
    assert (reasons != "").mean() <= lost


def test_two_tone_share_against_a_loop_over_thresholds() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 6), dtype=np.uint8)
    images[1] = np.where(images[1] > 99, 200, 30)
    images[2] = 7
    for image, found in zip(images, two_tone_share(images), strict=True):
        best = 0.0
        for threshold in range(255):
            low, high = image[image <= threshold].astype(float), image[image > threshold].astype(float)
            if len(low) and len(high):
                share = len(low) / image.size
                best = max(best, share * (1 - share) * (high.mean() - low.mean()) ** 2)
        assert found == pytest.approx(best / image.var() if image.var() else 0.0)
