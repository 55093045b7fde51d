"""Draws grey faces from numbers, many faces at a time.

A face is a mapping from parameter name to float32 (faces,): the pose, the identity and the expression (see
emobench.faces.synthetic.faces for their ranges). Face coordinates: u to the right, v down, the middle of the head at 0;
half the picture's side is 1 before the pose's scale. Each painter draws one part; shares of darkening, lengths and
bends in it are set by eye.
"""

from collections.abc import Mapping
from types import SimpleNamespace

import joblib
import numpy as np

from emobench.faces.synthetic.canvas import SIDE, Sheet, blob, cover, disc, stroke
from emobench.progress import progress

CHUNK = 8
"""Faces drawn at once: few enough that the arrays stay in the processor's cache."""
PART = 1000
"""Faces that a process draws before it hands them over; fewer are drawn right here."""
CENTRE = 0.05
"""Height at which the head is widest, in face coordinates."""


def render(face: Mapping[str, np.ndarray]) -> np.ndarray:
    """Draws faces without sensor noise.

    Args:
        face: every parameter of the expression, the identity and the pose, each (faces,).

    Returns:
        Grey (faces, 48, 48) float32, 0 black, 1 white.
    """
    count = len(next(iter(face.values())))
    parts = [{name: values[start : start + PART] for name, values in face.items()} for start in range(0, count, PART)]
    # Processes, since NumPy holds the interpreter's lock for most of the time that arrays of this size take.
    pool = joblib.Parallel(min(len(parts), joblib.cpu_count()), return_as="generator")
    drawn = pool(joblib.delayed(_render_part)(part) for part in parts)
    return np.concatenate(list(progress(drawn, total=len(parts), desc=f"draw {count} faces", unit="part")))


def _render_part(face: Mapping[str, np.ndarray]) -> np.ndarray:
    """Draws some faces, one chunk after the other."""
    chunks = [
        {name: np.asarray(values[start : start + CHUNK], np.float32)[:, None] for name, values in face.items()}
        for start in range(0, len(face["scale"]), CHUNK)
    ]
    return np.concatenate([_render_chunk(SimpleNamespace(**chunk)) for chunk in chunks])


def _render_chunk(p: SimpleNamespace) -> np.ndarray:
    """Draws one chunk; ``p`` holds the parameters as (faces, 1). Painters go from back to front."""
    _place(p)
    sheet = Sheet.posed(p)
    for painter in (_scene, _forehead, _eyes, _tears, _brows, _nose, _folds, _mouth, _chin):
        painter(sheet, p)
    return _photograph(sheet.grey, p)


def _place(p: SimpleNamespace) -> None:
    """Adds where things lie, (faces, 1) each, as far as the expression moves them."""
    p.top = p.skull - 1.0
    p.bottom = p.length + 0.17 * p.jaw - 0.03 * p.chin
    p.lip_y = p.mouth_y + 0.06 * p.jaw - 0.025 * p.chin
    p.lip_w = p.mouth_w * (1 + 0.28 * p.mouth_width + 0.12 * np.maximum(p.corners, 0))
    p.lid_top = (0.062 + 0.05 * p.upper_lid) * (1 - p.closed)
    p.lid_bottom = (0.045 + 0.028 * p.lower_lid) * (1 - p.closed)
    p.brow_y = p.eye_y - p.brow_gap


def _scene(s: Sheet, p: SimpleNamespace) -> None:
    """Backdrop, hair, neck, clothes and the head: behind the face first, then the hair over the forehead."""
    s.grey[:] = p.backdrop + p.backdrop_u * s.u + p.backdrop_v * s.v
    across = np.square(s.u / (p.width + 0.6 * p.volume))
    above = np.square(np.minimum(s.v - CENTRE, 0) / (CENTRE - p.top + p.volume))
    # Less than a circle's mixed term makes the crown squarer than an ellipse.
    hair = cover((1 - np.sqrt(np.sqrt(across * across + above * above + 1.3 * across * above))) * p.width)
    fan = p.strands * (s.u - p.parting) / np.maximum(s.v - p.top + 0.7, 0.1)
    tone = p.hair * (0.85 + 0.3 * np.abs(fan - np.rint(fan)))
    tone += p.shine * blob(s.u + 0.2, s.v - p.top - 0.05, 0.5, 0.22)
    s.paint(hair * cover(p.hair_length - s.v, 0.1), tone * 0.8)
    _body(s, p)
    _head(s, p)
    edge = np.abs(s.u / p.width)
    line = p.hairline + p.parting * s.u + p.temples * edge * edge * edge
    line -= p.fringe * np.abs(2 * fan - np.rint(2 * fan))
    s.paint(hair * cover(line - s.v, 0.06), tone)


def _body(s: Sheet, p: SimpleNamespace) -> None:
    """Neck, clothes and ears."""
    with s.window(p, 0.4, 1.6, 1.6) as low:
        across = np.abs(low.u)
        low.paint(cover(0.62 * p.width - across) * cover(low.v - 0.5), p.skin * 0.56)
        low.paint(cover(low.v - 1.0 - 0.25 * np.maximum(0.5 - across, 0) + 0.05 * across), p.clothes)
    with s.window(p, -0.2, 0.3, 0.95) as ears:
        ears.paint(disc(np.abs(ears.u) - p.width, ears.v - 0.03, 0.08 * p.ears, 0.15), p.skin * 0.82)


def _head(s: Sheet, p: SimpleNamespace) -> None:
    """The lit skin of the head, which grows longer when the jaw drops."""
    down = s.v - CENTRE
    below = np.maximum(down, 0) / (p.bottom - CENTRE)
    across = np.square(s.u / (p.width * (1 - p.taper * below * below)))
    along = np.square(down / np.where(down < 0, p.top - CENTRE, p.bottom - CENTRE))
    radius = np.sqrt(across * across + along * along + 1.7 * across * along)
    light = 1.05 + p.light_u * s.u + p.light_v * s.v - 0.2 * radius * radius
    s.paint(cover((1 - np.sqrt(radius)) * p.width, 0.05), p.skin * np.maximum(light, 0.2))


def _forehead(sheet: Sheet, p: SimpleNamespace) -> None:
    """Lines across the forehead from raised brows and tension; upright lines between knit brows."""
    with sheet.window(p, p.brow_y - 0.4, p.eye_y + 0.05, 0.4) as s:
        top = p.brow_y - 0.09 * p.brow_height - 0.1
        bend = 0.12 * s.a * s.a
        depth = 0.3 * np.maximum(p.brow_height, 0) + 0.25 * p.tension
        for gap in (0.0, 0.08):
            s.shade(depth * stroke(s.y - top + gap - bend, 0.012, s.a, 0.28))
        upright = stroke(s.a - 0.045 + 0.1 * (s.y - p.brow_y), 0.018, s.y - p.brow_y - 0.03, 0.12)
        s.shade(0.6 * p.brow_knit * upright)


def _brows(sheet: Sheet, p: SimpleNamespace) -> None:
    """Brows: their height, which end is lower, and how near the inner ends come."""
    inner, outer = p.eye_x - 1.1 * p.eye_w - 0.05 * p.brow_knit, p.eye_x + 1.3 * p.eye_w
    start = p.brow_y - 0.09 * p.brow_height - 0.085 * p.brow_slope + 0.025 * p.brow_knit
    end = p.brow_y - 0.075 * p.brow_height + 0.07 * p.brow_slope
    with sheet.window(p, p.brow_y - 0.28, p.brow_y + 0.28, 0.62) as s:
        t = (s.a - inner) / (outer - inner)
        line = start + (end - start) * t - (0.1 + 0.04 * p.brow_height) * t * (1 - t)
        half = p.brow_thick * (1.15 - 0.55 * np.clip(t, 0, 1))
        s.paint(0.85 * stroke(s.y - line, half, t - 0.5, 0.5), np.minimum(p.hair * 0.7, p.skin * 0.6))


def _eyes(sheet: Sheet, p: SimpleNamespace) -> None:
    """Eyes between two lids, the lids' edges and fold, lines at the outer corners."""
    with sheet.window(p, p.eye_y - 0.24, p.eye_y + 0.22, 0.66) as s:
        from_eye, down = s.a - p.eye_x, s.y - p.eye_y
        s.shade(0.16 * blob(from_eye, down + 0.03, 1.7 * p.eye_w, 0.2))
        bow = np.maximum(1 - np.square(from_eye / p.eye_w), 0)
        upper, lower = (0.04 * p.closed - p.lid_top) * bow, (0.04 * p.closed + p.lid_bottom) * bow
        white = cover(np.minimum(np.minimum(down - upper, lower - down), p.eye_w - np.abs(from_eye)) - 0.01)
        white *= 1 - p.closed
        s.paint(white, np.minimum(p.skin + 0.36, 0.97))
        iris = np.sqrt(np.square(from_eye - p.gaze * np.sign(s.x)) + np.square(down + 0.008))
        s.paint(white * cover(0.066 - iris), p.iris)
        s.paint(white * cover(0.03 - iris), 0.04)
        s.paint(white * disc(from_eye - 0.025, down + 0.035, 0.02, 0.02), 0.95)
        s.paint(0.85 * stroke(down - upper, 0.016, from_eye, 1.05 * p.eye_w), p.skin * 0.15)
        s.shade(0.3 * stroke(down - lower, 0.012, from_eye, 0.9 * p.eye_w))
        fold = 0.055 - 0.03 * p.upper_lid
        s.shade(0.28 * (1 - 0.4 * p.closed) * stroke(down - upper + fold, 0.013, from_eye, 0.85 * p.eye_w))
        corner = from_eye - 1.12 * p.eye_w
        for lean in (-0.55, 0.0, 0.55):
            s.shade(0.55 * p.crinkle * stroke(down - lean * (corner + 0.05), 0.013, corner - 0.055, 0.05))
        pouch = down - lower - 0.055 * (0.4 + 0.6 * bow)
        s.shade(0.4 * p.crinkle * stroke(pouch, 0.013, from_eye, 0.8 * p.eye_w))


def _tears(sheet: Sheet, p: SimpleNamespace) -> None:
    """Water along the lower lid, and a drop on the cheek below it."""
    with sheet.window(p, p.eye_y - 0.05, p.eye_y + 0.45, 0.5) as s:
        from_eye, down = s.a - p.eye_x, s.y - p.eye_y - p.lid_bottom
        bow = np.maximum(1 - np.square(from_eye / p.eye_w), 0)
        s.paint(0.7 * p.tear * stroke(down - p.lid_bottom * (bow - 1), 0.016, from_eye, 0.8 * p.eye_w), 1.0)
        s.paint(0.45 * p.tear * stroke(from_eye, 0.016, down - 0.13, 0.12), 1.0)
        s.shade(0.45 * p.tear * disc(from_eye, down - 0.24, 0.062, 0.085))
        s.paint(p.tear * disc(from_eye, down - 0.23, 0.042, 0.062), 1.0)


def _nose(sheet: Sheet, p: SimpleNamespace) -> None:
    """Ridge, wings and nostrils; wrinkles on the bridge under tension and in a sneer."""
    middle = 0.5 * (p.eye_y - p.nose_y)
    wing, hole = p.nose_w * (1 + 0.5 * p.nostrils), p.nose_w * (0.5 + 0.25 * p.nostrils)
    with sheet.window(p, p.eye_y - 0.08, p.nose_y + 0.12, 0.26) as s:
        down = s.y - p.nose_y
        s.shade(-0.12 * blob(s.x, down - middle, 0.07, 0.22))
        s.shade(0.18 * blob(s.x + 0.09 * np.sign(p.light_u), down - 0.8 * middle, 0.06, 0.2))
        s.shade(0.2 * blob(s.a, down - 0.05, 1.4 * p.nose_w, 0.06))
        s.shade(0.4 * stroke(s.a - wing + 2.5 * np.square(down + 0.02), 0.014, down + 0.025, 0.05))
        nostril = disc(s.a - hole, down, 0.024 + 0.03 * p.nostrils, 0.016 + 0.022 * p.nostrils)
        s.paint((0.5 + 0.4 * p.nostrils) * nostril, p.skin * 0.15)
        wrinkle = 0.3 * p.tension + 0.3 * p.sneer
        for gap in (0.06, 0.14):
            s.shade(wrinkle * stroke(s.y - p.eye_y - gap + 0.3 * s.a, 0.014, s.a, 0.08))


def _folds(sheet: Sheet, p: SimpleNamespace) -> None:
    """Folds from nose to mouth (tension, smile), lifted cheeks, and the chewing muscle of a clenched jaw."""
    smile = np.maximum(p.corners, 0)
    with sheet.window(p, p.nose_y - 0.2, p.lip_y + 0.28, 0.7) as s:
        t = (s.y - p.nose_y + 0.04) / (p.lip_y - p.nose_y + 0.06)
        line = p.nose_w + 0.035 + (p.lip_w - p.nose_w + 0.05) * t * (1.35 - 0.35 * t)
        depth = 0.12 * p.age + 0.25 * smile + 0.4 * p.tension
        s.shade(depth * stroke(s.a - line, 0.02, t - 0.5, 0.5))
        s.shade(-0.1 * smile * blob(s.a - p.eye_x - 0.03, s.y - p.nose_y + 0.04, 0.17, 0.12))
        muscle, down = s.a - 0.6 * p.width, s.y - p.lip_y + 0.03
        s.shade(-0.25 * p.clench * blob(muscle - 0.05, down, 0.1, 0.2))
        s.shade(0.4 * p.clench * stroke(muscle + 1.2 * np.square(down), 0.024, down, 0.15))


def _mouth(sheet: Sheet, p: SimpleNamespace) -> None:
    """Lips that open, stretch, press and curve, and what is seen between them; grooves beside a tight mouth."""
    with sheet.window(p, p.lip_y - 0.22, p.lip_y + 0.4, 0.44) as s:
        t = s.a / p.lip_w
        t2 = np.minimum(t * t, 1.5)
        bow = np.maximum(1 - t2, 0)
        line = s.y - p.lip_y + p.corners * (0.125 * t2 - 0.05)
        upper = -(0.06 * p.mouth_open + 0.06 * p.sneer * bow) * bow
        lower = 0.24 * p.mouth_open * bow * (1.5 - 0.5 * bow)
        thin = p.lips * (1 - 0.8 * p.press)
        lips = np.minimum(line - upper + 0.05 * thin * bow, lower + 0.065 * thin * bow - line)
        s.paint(cover(lips) * cover(1.05 - t, 0.1), p.skin * p.lip_tone)
        _between_lips(s, p, upper - line, lower - line)
        shut = np.maximum(1 - 4 * p.mouth_open, 0)
        s.paint((0.75 + 0.2 * p.press) * shut * stroke(line, 0.012 + 0.01 * p.press, t, 1), p.skin * 0.2)
        grip = np.maximum(p.press, p.clench)
        s.shade(0.45 * grip * stroke(t - 1.15, 0.07, line - 0.01, 0.07))


def _between_lips(s: Sheet, p: SimpleNamespace, upper: np.ndarray, lower: np.ndarray) -> None:
    """Teeth before the dark of the mouth; ``upper, lower`` are the heights of the lips above each pixel."""
    inside = cover(np.minimum(np.minimum(-upper, lower), p.lip_w - s.a) - 0.012)
    inside *= np.minimum(4 * np.maximum(p.mouth_open, p.sneer), 1)
    s.paint(inside, 0.06)
    bared = np.maximum(np.clip(1.5 * p.corners, 0.15, 1), np.maximum(p.clench, p.sneer))
    s.paint(bared * inside * cover(upper + 0.06 + 0.2 * p.clench * p.mouth_open), 0.92)
    s.shade(0.5 * p.clench * inside * cover(0.012 - 0.5 * np.abs(upper + lower)))


def _chin(sheet: Sheet, p: SimpleNamespace) -> None:
    """The groove under the lower lip, and the bump of a raised chin."""
    lip = p.lip_y + 0.24 * p.mouth_open + 0.075
    with sheet.window(p, lip - 0.1, p.bottom + 0.1, 0.3) as s:
        s.shade(0.14 * blob(s.a, s.y - lip - 0.02, 0.16, 0.06))
        s.shade(0.55 * p.chin * stroke(s.y - lip - 0.03 - 3 * s.a * s.a, 0.018, s.a, 0.17))
        s.shade(-0.22 * p.chin * blob(s.a, s.y - lip - 0.13, 0.14, 0.09))
        s.shade(0.35 * p.chin * stroke(s.y - p.bottom + 0.05 + 0.8 * s.a * s.a, 0.016, s.a, 0.2))


def _photograph(grey: np.ndarray, p: SimpleNamespace) -> np.ndarray:
    """Averages down to 48x48, blurs by each face's own amount and sets the contrast: (faces, 48, 48)."""
    fine = grey.reshape(-1, SIDE, SIDE)
    image = (fine[:, ::2, ::2] + fine[:, 1::2, ::2] + fine[:, ::2, 1::2] + fine[:, 1::2, 1::2]) * np.float32(0.25)
    blur = p.blur[:, :, None]
    for _ in range(2):
        padded = np.pad(image, ((0, 0), (1, 1), (0, 0)), mode="edge")
        image = (image + blur * (padded[:, :-2] + padded[:, 2:] - 2 * image)).swapaxes(1, 2)
    return (image - 0.5) * p.contrast[:, :, None] + 0.5 + p.brightness[:, :, None]
