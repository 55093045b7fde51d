"""Facial concepts measured by geometry on the 478 points of MediaPipe's face mesh.

Points are (images, 478, 3): x to the right, y down, z away from the viewer, all in one unit. Each face is turned
into its own axes (x through the eyes, y from the forehead to the nose base) with its origin between the eyes and
the distance of the eyes as unit. What the head's pitch and yaw still explain of a measurement over the set is taken
out by least squares, and it is standardised by median and interquartile range. A concept's score is the percentile
rank over the set of what MEASURES says of it: it ranks faces of one set and means nothing beyond it.

Two of the 25 concepts of the set ``expressions`` are no matter of geometry and stay unmeasured: tearful eyes, and
tightened facial muscles, which show as folds and creases.
"""

from collections.abc import Callable

import numpy as np

Parts = dict[str, np.ndarray]

# Point numbers of the mesh; each name holds the points of both halves of the face.
EYE_CORNERS = ((33, 133), (263, 362))
UPPER_LIDS = ((160, 159, 158), (387, 386, 385))
LOWER_LIDS = ((144, 145, 153), (373, 374, 380))
BROWS_INNER, BROWS_MIDDLE, BROWS_OUTER = (55, 107, 285, 336), (52, 105, 282, 334), (46, 70, 276, 300)
BROW_HEADS = (55, 285)
CHEEKS = (50, 205, 280, 425)
NOSTRILS = (64, 294)
FOREHEAD, NOSE_BASE = (10, 151), (2, 94)
MOUTH_CORNERS = (61, 291)
LIP_TOP, LIP_UPPER_EDGE, LIP_LOWER_EDGE, LIP_BOTTOM = 0, 13, 14, 17


def _most(**weights: float) -> Callable[[Parts], np.ndarray]:
    """The more of the weighted sum of these measurements, the higher."""
    return lambda parts: np.sum([weight * parts[name] for name, weight in weights.items()], axis=0)


def _near(quantile: float, **weights: float) -> Callable[[Parts], np.ndarray]:
    """The nearer in rank to this quantile of the weighted sum, the higher."""
    measure = _most(**weights)
    return lambda parts: -np.abs(_percentile(measure(parts)) - quantile)


def _relaxed(*names: str) -> Callable[[Parts], np.ndarray]:
    """The nearer to the median in all of these measurements, the higher."""
    return lambda parts: -np.sqrt(sum(parts[name] ** 2 for name in names))


MEASURES: dict[str, Callable[[Parts], np.ndarray]] = {
    "furrowed brows": _most(brow_knit=1, brow_inner=-1, brow_slope=1),
    "raised brows": _most(brow_height=1),
    "lowered brows": _most(brow_to_lid=-1),
    "drooping brows": _most(brow_slope=-1, brow_knit=1),
    "relaxed brows": _relaxed("brow_height", "brow_slope", "brow_knit"),
    "wide open eyes": _most(eye_opening=1),
    "narrowed eyes": _near(0.2, eye_opening=1),
    "twinkling or crinkled eyes": _most(lower_lid=1, cheek_lift=1),
    "closed eyes": _most(eye_opening=-1),
    "relaxed eyes": _relaxed("eye_opening", "lower_lid"),
    "tense mouth and jaw": _most(corner_pull=1),
    "relaxed mouth and jaw": _relaxed("mouth_width", "corner_lift", "mouth_opening", "lip_thinness"),
    "smile": _most(mouth_width=1, corner_lift=1),
    "frown": _most(corner_lift=-2, brow_knit=1, brow_inner=-1, brow_slope=1),
    "downturned mouth": _most(corner_lift=-1),
    "slightly open mouth": _near(0.65, mouth_opening=1),
    "wide open mouth": _most(mouth_opening=1),
    "slight chin raise": _near(0.8, pitch=1),
    # A smile bares the teeth without the jaw.
    "slightly dropped jaw": _near(0.75, lower_lip_drop=1, mouth_opening=1, corner_lift=-1),
    "flared nostrils": _most(nostril_flare=1),
    # The opening weighs more: lips that part stretch thin without being pressed.
    "compressed lips": _most(lip_thinness=1, mouth_opening=-3),
    "elevated upper eyelids": _most(upper_lid=1),
    "relaxed facial muscles": _relaxed(
        "eye_opening", "brow_height", "brow_slope", "brow_knit", "mouth_width", "corner_lift", "mouth_opening"
    ),
}
"""Concept -> its measure, in terms of the measurements that ``measurements`` documents."""


def concept_percentiles(points: np.ndarray) -> dict[str, np.ndarray]:
    """Scores the measurable concepts on each face by percentile rank over the set.

    Args:
        points: (images, 478, 3); NaN for an image without a found face.

    Returns:
        Concept -> scores (images,) in (0, 1): (rank - 1/2) / faces, ties averaged; NaN without a face.
    """
    found = ~np.isnan(points).any(axis=(1, 2))
    scores = {concept: np.full(len(points), np.nan) for concept in MEASURES}
    if found.any():
        parts = measurements(points[found])
        for concept, measure in MEASURES.items():
            scores[concept][found] = _percentile(measure(parts))
    return scores


def measurements(points: np.ndarray) -> Parts:
    """Measures each face in eye distances; all but ``pitch`` and ``mouth_opening`` are corrected for pose.

    Args:
        points: (faces, 478, 3), none NaN.

    Returns:
        Name -> (faces,), standardised. brow_height: of the whole brows above the eyes; brow_inner: of their inner ends;
        brow_slope: outer above inner ends; brow_knit: nearness of the brows to each other; brow_to_lid: gap between
        brow and upper lid; eye_opening: lid gap by eye width; upper_lid, lower_lid: height of the lid against the
        eye's corners; cheek_lift; mouth_width; mouth_opening: gap of the lips by mouth width; corner_lift: corners
        above the line where the lips meet; lower_lip_drop: lower lip's edge below the nose base, moved by the jaw
        alone; corner_pull: corners lower than mouths so wide and so open have them; lip_thinness: of the red of both
        lips, against mouths so wide with such corners; nostril_flare: nose width against mouths like this one;
        pitch: how far the head is tilted back.
    """
    at, pitch, yaw = _face_axes(points)
    pose = (_standard(pitch), _standard(pitch) ** 2, _standard(np.abs(yaw)))
    parts = {name: _standard(_given(value, *pose)) for name, value in _lengths(at).items()}
    # A closed mouth is closed in every pose: nothing to correct.
    parts["mouth_opening"] = _standard(_mouth_opening(at))
    width, opening, lift = parts["mouth_width"], parts["mouth_opening"], parts["corner_lift"]
    parts["corner_pull"] = -_standard(_given(lift, width, opening))
    parts["lip_thinness"] = -_standard(_given(parts.pop("lip_height"), width, lift))
    parts["nostril_flare"] = _standard(_given(parts.pop("nose_width"), width, lift, opening))
    return {**parts, "pitch": _standard(pitch)}


def _face_axes(points: np.ndarray) -> tuple[Callable[..., np.ndarray], np.ndarray, np.ndarray]:
    """Returns ``at(*numbers)``, the mean (faces, 3) of some points in the face's own axes, and pitch and yaw."""
    mean = lambda numbers: points[:, list(numbers)].mean(axis=1, dtype=np.float64)  # noqa: E731
    right, left = (mean(corners) for corners in EYE_CORNERS)
    scale = np.linalg.norm(left - right, axis=1, keepdims=True)
    across = (left - right) / scale
    down = mean(NOSE_BASE) - mean(FOREHEAD)
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    pitch, yaw = -np.arcsin(down[:, 2]), np.arcsin(across[:, 2])
    down -= (down * across).sum(axis=1, keepdims=True) * across
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    axes = np.stack([across, down, np.cross(across, down)], axis=1)
    centre = (left + right) / 2
    return lambda *numbers: np.einsum("nij,nj->ni", axes, mean(numbers) - centre) / scale, pitch, yaw


def _mouth_opening(at: Callable[..., np.ndarray]) -> np.ndarray:
    """The gap of the lips by the width of the mouth."""
    inside, corners = at(LIP_UPPER_EDGE) - at(LIP_LOWER_EDGE), at(MOUTH_CORNERS[0]) - at(MOUTH_CORNERS[1])
    return np.linalg.norm(inside, axis=1) / np.linalg.norm(corners, axis=1)


def _lengths(at: Callable[..., np.ndarray]) -> Parts:
    """The plain measurements, in eye distances, before any correction."""
    gap = lambda one, other: np.linalg.norm(at(one) - at(other), axis=1)  # noqa: E731
    height = lambda *numbers: -at(*numbers)[:, 1]  # noqa: E731
    eyes = zip(EYE_CORNERS, UPPER_LIDS, LOWER_LIDS, strict=True)
    openings = [sum(map(gap, upper, lower)) / 3 / gap(*corners) for corners, upper, lower in eyes]
    inner, middle, outer = height(*BROWS_INNER), height(*BROWS_MIDDLE), height(*BROWS_OUTER)
    upper_lid = height(*(side[1] for side in UPPER_LIDS))
    return {
        "brow_height": (inner + middle + outer) / 3,
        "brow_inner": inner,
        "brow_slope": outer - inner,
        "brow_knit": -gap(*BROW_HEADS),
        "brow_to_lid": (inner + middle) / 2 - upper_lid,
        "eye_opening": sum(openings) / 2,
        # The axes' origin is the mean of the eye corners: these heights are against the corners.
        "upper_lid": upper_lid,
        "lower_lid": height(*(side[1] for side in LOWER_LIDS)),
        "cheek_lift": height(*CHEEKS),
        "mouth_width": gap(*MOUTH_CORNERS),
        "corner_lift": height(*MOUTH_CORNERS) - height(LIP_UPPER_EDGE, LIP_LOWER_EDGE),
        "lower_lip_drop": height(*NOSE_BASE) - height(LIP_LOWER_EDGE),
        "lip_height": gap(LIP_TOP, LIP_UPPER_EDGE) + gap(LIP_LOWER_EDGE, LIP_BOTTOM),
        "nose_width": gap(*NOSTRILS),
    }


def _given(values: np.ndarray, *controls: np.ndarray) -> np.ndarray:
    """What a least-squares fit on the controls (and a constant) leaves of the values, all (faces,)."""
    design = np.stack([np.ones(len(values)), *controls], axis=1)
    return values - design @ np.linalg.lstsq(design, values)[0]


def _standard(values: np.ndarray) -> np.ndarray:
    """Median 0 and, for normal data, deviation near 1; bent towards ±4, so that one lost mesh can't rule a sum.

    >>> _standard(np.array([0.0, 1.0, 2.0, 3.0, 900.0])).round(2)
    array([-1.3 , -0.67,  0.  ,  0.67,  4.  ])
    """
    low, middle, high = np.percentile(values, [25, 50, 75])
    # 1.349 deviations lie between the quartiles of a normal distribution; a constant stays 0.
    return 4 * np.tanh((values - middle) * (1.349 / 4 / max(high - low, 1e-12)))


def _percentile(values: np.ndarray) -> np.ndarray:
    """Percentile rank (rank - 1/2) / n, ties averaged.

    >>> _percentile(np.array([5.0, 1.0, 1.0, 9.0]))
    array([0.625, 0.25 , 0.25 , 0.875])
    """
    from scipy.stats import rankdata

    return (rankdata(values) - 0.5) / len(values)
