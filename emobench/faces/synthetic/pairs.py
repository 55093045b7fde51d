"""Pairs of drawn faces that differ in one facial concept: everything else of the face is the same, to its grain.

A concept is moved from 0 to 1 by the parameters of the expression that make it. What has to be still for that (an open
mouth isn't pressed, closed eyes aren't wide) is set alike in both faces of a pair. Some concepts share parameters (a
downturned mouth is most of a frown), so that no drawing moves one without the other: ``moved`` says how far each
concept's true value went.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from emobench.faces.synthetic.drawing import render
from emobench.faces.synthetic.faces import concept_values, draw_expressions, draw_identities, draw_labels

OPEN_EYES = {"closed": 0.0}
STILL_MOUTH = {"mouth_open": 0.0, "press": 0.0, "clench": 0.0, "jaw": 0.0}
AT_EASE = {"tension": 0.0, "clench": 0.0, "brow_knit": 0.0, "press": 0.0, "brow_height": 0.0}
MOVES: dict[str, tuple[dict[str, tuple[float, float]], dict[str, float]]] = {
    # concept: parameter -> (without, with), and what is alike in both.
    "furrowed brows": ({"brow_knit": (0.0, 0.8)}, {}),
    "raised brows": ({"brow_height": (0.0, 0.8)}, {}),
    "lowered brows": ({"brow_height": (0.0, -0.8)}, {}),
    "drooping brows": ({"brow_slope": (0.0, 0.8)}, {}),
    "relaxed brows": ({"brow_slope": (-0.8, 0.0)}, {"brow_height": 0.0, "brow_knit": 0.0}),
    "wide open eyes": ({"lower_lid": (0.0, 1.0)}, OPEN_EYES | {"upper_lid": 0.2}),
    "narrowed eyes": ({"lower_lid": (0.0, -1.0)}, OPEN_EYES | {"upper_lid": -0.1}),
    "twinkling or crinkled eyes": ({"crinkle": (0.0, 0.9)}, {}),
    "tearful eyes": ({"tear": (0.0, 0.9)}, {}),
    "closed eyes": ({"closed": (0.0, 1.0)}, {}),
    "relaxed eyes": (
        {"upper_lid": (-0.9, 0.0), "lower_lid": (0.9, 0.0)},
        OPEN_EYES | {"crinkle": 0.0, "tear": 0.0},
    ),
    "tense mouth and jaw": ({"clench": (0.0, 0.9)}, {"press": 0.0}),
    "relaxed mouth and jaw": ({"jaw": (1.0, 0.0)}, {"clench": 0.0, "press": 0.0, "mouth_open": 0.0, "corners": 0.0}),
    "smile": ({"corners": (0.0, 0.9)}, {}),
    "frown": ({"corners": (0.0, -0.8), "brow_knit": (0.0, 0.7)}, {"brow_height": 0.0}),
    "downturned mouth": ({"corners": (0.0, -0.8)}, {}),
    "slightly open mouth": ({"mouth_open": (0.0, 0.35)}, STILL_MOUTH | {"jaw": 0.21}),
    "wide open mouth": ({"mouth_open": (0.0, 0.9)}, STILL_MOUTH | {"jaw": 0.54}),
    "slight chin raise": ({"chin": (0.0, 0.8)}, {}),
    "slightly dropped jaw": ({"jaw": (0.0, 0.4)}, {"mouth_open": 0.0}),
    "flared nostrils": ({"nostrils": (0.0, 0.9)}, {}),
    "tightened facial muscles": ({"tension": (0.0, 1.0)}, {}),
    "compressed lips": ({"press": (0.0, 0.8)}, {"mouth_open": 0.0}),
    "elevated upper eyelids": ({"upper_lid": (0.0, 0.8)}, OPEN_EYES | {"lower_lid": -0.3}),
    "relaxed facial muscles": ({"sneer": (0.8, 0.0)}, AT_EASE),
}


@dataclass(frozen=True)
class Pairs:
    """Faces without and with each concept, uint8 (concepts, faces, 48, 48) each, in the order of ``concepts``.

    ``moved`` (concepts, concepts): by how much the true value of the column's concept changes, on average over the
    faces, where the row's concept is moved.
    """

    concepts: tuple[str, ...]
    without: np.ndarray
    shown: np.ndarray
    moved: np.ndarray


def draw_pairs(count: int, seed: int) -> Pairs:
    """Draws ``count`` faces of any emotion, identity and pose, and each of them without and with each concept.

    Args:
        count: faces for each concept, the same ones for all concepts.
        seed: of who they are, what else they show, and their grain.

    Raises:
        ValueError: no face.
    """
    if count < 1:
        raise ValueError(f"cannot draw {count} faces; expected at least 1")
    labels, expression, identity, style, noise = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)
    )
    others = draw_expressions(draw_labels(count, 0.0, labels)[1], expression)
    who = draw_identities(count, identity, style)
    grain = who["grain"][:, None, None] * noise.standard_normal((count, 48, 48), np.float32)
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    moved = []
    for parameters, alike in MOVES.values():
        ends = [_with(others, alike | {name: pair[side] for name, pair in parameters.items()}) for side in (0, 1)]
        for images, end in zip(sides, ends, strict=True):
            images.append(np.rint(np.clip(render(who | end) + grain, 0, 1) * 255).astype(np.uint8))
        before, after = (concept_values(end)[list(MOVES)].to_numpy() for end in ends)
        moved.append((after - before).mean(0))
    return Pairs(tuple(MOVES), np.stack(sides[0]), np.stack(sides[1]), np.stack(moved))


def _with(expression: Mapping[str, np.ndarray], values: Mapping[str, float]) -> dict[str, np.ndarray]:
    """The expression with some parameters set."""
    return {name: np.full_like(drawn, values[name]) if name in values else drawn for name, drawn in expression.items()}
