import numpy as np
import pytest

from emobench.concepts import facial_geometry as geometry
from emobench.concepts.facial_geometry import MEASURES, concept_percentiles, measurements
from emobench.vocabulary import concept_set

KNOBS = ("brow", "slope", "knit", "upper", "lower", "cheek", "width", "corner", "open", "lips", "nose")


def draw(knobs):
    """A face by hand, in eye distances: each knob moves its own points by so much; 0 is a plain face."""
    points = np.zeros((478, 3))

    def put(number, x, y, side=1):
        points[number] = (side * x, y, 0)

    corner = 0.12 - knobs["corner"]
    gap, width = 0.05 + knobs["open"], 0.4 + knobs["width"]
    lip = 0.1 + knobs["lips"]
    for side, half in ((-1, 0), (1, 1)):
        for number, x in zip(geometry.EYE_CORNERS[half], (0.7, 0.3), strict=True):
            put(number, x, 0, side)
        for number in geometry.UPPER_LIDS[half]:
            put(number, 0.5, -0.08 - knobs["upper"], side)
        for number in geometry.LOWER_LIDS[half]:
            put(number, 0.5, 0.08 - knobs["lower"], side)
        mine = slice(2 * half, 2 * half + 2)
        for number in geometry.BROWS_INNER[mine]:
            put(number, 0.3 - knobs["knit"], -0.3 - knobs["brow"] + knobs["slope"], side)
        for number in geometry.BROWS_MIDDLE[mine]:
            put(number, 0.5, -0.35 - knobs["brow"], side)
        for number in geometry.BROWS_OUTER[mine]:
            put(number, 0.8, -0.3 - knobs["brow"] - knobs["slope"], side)
        for number in geometry.CHEEKS[mine]:
            put(number, 0.5, 0.5 - knobs["cheek"], side)
        put(geometry.NOSTRILS[half], 0.2 + knobs["nose"], 0.6, side)
        put(geometry.MOUTH_CORNERS[half], width, 0.88 + corner + gap / 2, side)
    for number, y in zip((*geometry.FOREHEAD, *geometry.NOSE_BASE), (-1.0, -0.8, 0.7, 0.68), strict=True):
        put(number, 0, y)
    put(geometry.LIP_TOP, 0, 1.0 - lip)
    put(geometry.LIP_UPPER_EDGE, 0, 1.0)
    put(geometry.LIP_LOWER_EDGE, 0, 1.0 + gap)
    put(geometry.LIP_BOTTOM, 0, 1.0 + gap + lip)
    return points


def turned(points, pitch=0.0, yaw=0.0, roll=0.0):
    """Turns the head: pitch > 0 tilts it back (forehead away from the viewer)."""
    c, s = np.cos([pitch, yaw, roll]), np.sin([pitch, yaw, roll])
    about_x = np.array([[1, 0, 0], [0, c[0], s[0]], [0, -s[0], c[0]]])
    about_y = np.array([[c[1], 0, -s[1]], [0, 1, 0], [s[1], 0, c[1]]])
    about_z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
    return points @ (about_z @ about_y @ about_x).T


@pytest.fixture(scope="module")
def crowd():
    """400 faces with independent knobs, head pose, place and size; returns knobs (400,) by name, pitch and points."""
    rng = np.random.default_rng(3)
    knobs = {name: rng.uniform(-0.04, 0.04, 400) for name in KNOBS}
    knobs["open"] = rng.uniform(0, 0.2, 400)
    pitch, yaw, roll = rng.uniform(-0.3, 0.3, (3, 400))
    faces = [
        turned(draw({name: knobs[name][i] for name in KNOBS}), pitch[i], yaw[i], roll[i]) * rng.uniform(5, 15)
        + rng.uniform(-5, 5, 3)
        for i in range(400)
    ]
    return knobs, pitch, np.stack(faces)


def correlation(one, other):
    return np.corrcoef(one, other)[0, 1]


def test_measured_and_unmeasured_concepts_are_the_25():
    assert set(concept_set("expressions")) - set(MEASURES) == {"tearful eyes", "tightened facial muscles"}
    assert set(MEASURES) <= set(concept_set("expressions"))


@pytest.mark.parametrize(
    ("concept", "knob", "sign"),
    [
        ("raised brows", "brow", 1),
        ("furrowed brows", "slope", 1),
        ("furrowed brows", "knit", 1),
        ("furrowed brows", "brow", -1),
        ("drooping brows", "slope", -1),
        ("lowered brows", "brow", -1),
        ("wide open eyes", "upper", 1),
        ("closed eyes", "upper", -1),
        ("elevated upper eyelids", "upper", 1),
        ("twinkling or crinkled eyes", "cheek", 1),
        ("twinkling or crinkled eyes", "lower", 1),
        ("smile", "width", 1),
        ("smile", "corner", 1),
        ("downturned mouth", "corner", -1),
        ("frown", "corner", -1),
        ("wide open mouth", "open", 1),
        ("tense mouth and jaw", "corner", -1),
        ("compressed lips", "lips", -1),
        ("flared nostrils", "nose", 1),
    ],
)
def test_each_concept_follows_what_is_drawn_and_not_the_rest(crowd, concept, knob, sign):
    knobs, _, points = crowd
    score = concept_percentiles(points)[concept]
    share = {name: correlation(score, values) for name, values in knobs.items()}
    assert sign * share[knob] > 0.25
    related = {
        "furrowed brows": ("slope", "knit", "brow"),
        "drooping brows": ("slope", "knit"),
        "lowered brows": ("brow", "upper", "slope"),
        "wide open eyes": ("upper", "lower"),
        "closed eyes": ("upper", "lower"),
        "twinkling or crinkled eyes": ("cheek", "lower"),
        "smile": ("width", "corner"),
        "frown": ("corner", "slope", "knit", "brow"),
        "compressed lips": ("lips", "open"),
        "wide open mouth": ("open", "width"),
    }.get(concept, (knob,))
    assert max(abs(share[name]) for name in KNOBS if name not in related) < 0.2


def test_parted_lips_are_not_compressed_and_narrowed_eyes_are_not_closed(crowd):
    knobs, _, points = crowd
    scores = concept_percentiles(points)
    assert correlation(scores["compressed lips"], knobs["open"]) < -0.6
    closed = scores["closed eyes"]
    assert scores["narrowed eyes"][closed > 0.98].mean() < scores["narrowed eyes"][abs(closed - 0.8) < 0.02].mean()
    assert scores["narrowed eyes"][closed < 0.1].max() < 0.2


@pytest.mark.parametrize(("concept", "smile"), [("slightly open mouth", 0), ("slightly dropped jaw", 1)])
def test_slight_means_between_the_extremes(crowd, concept, smile):
    knobs, _, points = crowd
    shown = 2 * knobs["open"] / knobs["open"].std() - smile * knobs["corner"] / knobs["corner"].std()
    score, rank = concept_percentiles(points)[concept], shown.argsort().argsort() / 400
    middle = score[(rank > 0.6) & (rank < 0.8)].mean()
    assert middle > 0.2 + max(score[rank < 0.1].mean(), score[rank > 0.95].mean())


def test_slight_chin_raise_is_a_head_tilted_back_a_little(crowd):
    _, pitch, points = crowd
    best = pitch[concept_percentiles(points)["slight chin raise"] > 0.9]
    assert (best > np.quantile(pitch, 0.7)).all()
    assert (best < np.quantile(pitch, 0.9)).all()


def test_relaxed_is_nearness_to_the_median(crowd):
    _, _, points = crowd
    plain = draw(dict.fromkeys(KNOBS, 0.0) | {"open": 0.1})
    scores = concept_percentiles(np.concatenate([points, [plain * 9]]))
    for concept in ("relaxed brows", "relaxed eyes", "relaxed mouth and jaw", "relaxed facial muscles"):
        assert scores[concept][-1] > 0.9


def test_roll_place_and_size_change_nothing(crowd):
    _, _, points = crowd
    moved = np.stack([turned(face, roll=0.4) * 3 + (7, -2, 1) for face in points])
    before, after = measurements(points), measurements(moved)
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-6)


def test_head_pose_hardly_shows_in_the_scores(crowd):
    _, pitch, points = crowd
    for concept, score in concept_percentiles(points).items():
        if concept != "slight chin raise":
            assert abs(correlation(score, pitch)) < 0.15, concept


def test_scores_are_mid_percentile_ranks_and_nan_without_a_face(crowd):
    _, _, points = crowd
    points = points[:20].copy()
    points[[2, 11]] = np.nan
    found = [i for i in range(20) if i not in (2, 11)]
    smile = measurements(points[found])
    smile = smile["mouth_width"] + smile["corner_lift"]
    score = concept_percentiles(points)["smile"]
    assert np.isnan(score[[2, 11]]).all()
    for row, value in zip(found, smile, strict=True):
        below = sum(other < value for other in smile) + 0.5 * sum(other == value for other in smile)
        assert score[row] == pytest.approx(below / len(found))


def test_equal_faces_tie_and_no_face_at_all_is_all_nan():
    same = np.stack([draw(dict.fromkeys(KNOBS, 0.0))] * 4)
    assert all((scores == 0.5).all() for scores in concept_percentiles(same).values())
    nothing = concept_percentiles(np.full((3, 478, 3), np.nan))
    assert all(np.isnan(scores).all() for scores in nothing.values())
