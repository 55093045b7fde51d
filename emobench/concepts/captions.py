"""Captions of faces, composed from scores, and how well any caption fits any face.

A score table is (images, names) float in [0, 1], NaN where not measured: a column an annotated concept, then a column
an emotion (one where it is the label, else zero). A caption mentions some of the names. Since the scores tell for
*every* image of a batch whether it fits a caption, captions that several images share are no false negatives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LOW, HIGH = 0.5, 0.8
"""Scores up to LOW count as absent, from HIGH on as present."""
CONCEPT_PHRASINGS = (
    "{}",
    "a face with {}",
    "a photo of a face with {}",
    "a person who shows {}",
    "{} in a facial expression",
)
EMOTION_PHRASINGS = ("{}", "a {} face", "a photo of a {} face", "a face that shows {}", "the emotion is {}")
BOTH_PHRASINGS = ("a {emotion} face with {concepts}", "{concepts}, {emotion}", "{emotion}: {concepts}")
BARE_SHARE = 0.5
"""Share of the single-name captions that are the bare name, which is what a network's units are described with."""
MOST_MENTIONED = 3


@dataclass(frozen=True)
class Caption:
    """A text and the columns of the score table that it mentions."""

    text: str
    mentions: tuple[int, ...]


@dataclass(frozen=True)
class CaptionWriter:
    """Writes captions about ``concepts`` and, in a share of them, about ``emotions``.

    Args:
        concepts: names of the score table's first columns.
        emotions: names of its other columns.
        emotion_share: probability that a caption may speak of the emotion.
    """

    concepts: tuple[str, ...]
    emotions: tuple[str, ...]
    emotion_share: float

    def single(self, rng: np.random.Generator) -> list[Caption]:
        """One caption for each concept and for a random share of the emotions, about nothing else."""
        captions = []
        for column, name in enumerate((*self.concepts, *self.emotions)):
            emotion = column >= len(self.concepts)
            if emotion and rng.random() >= self.emotion_share:
                continue
            phrasings = EMOTION_PHRASINGS if emotion else CONCEPT_PHRASINGS
            phrasing = phrasings[0] if rng.random() < BARE_SHARE else phrasings[int(rng.integers(len(phrasings)))]
            captions.append(Caption(phrasing.format(name), (column,)))
        return captions

    def composed(self, scores: np.ndarray, rng: np.random.Generator) -> Caption | None:
        """A caption for one image: up to three of its high concepts, drawn by score, perhaps with its emotion.

        Args:
            scores: (names,) the image's row of the score table.
            rng: the source of randomness.

        Returns:
            The caption, or None if no concept is high and the emotion isn't drawn.
        """
        split = len(self.concepts)
        weights = np.clip(np.nan_to_num(scores[:split]) - LOW, 0, None) ** 2
        count = min(int(rng.integers(1, MOST_MENTIONED + 1)), int((weights > 0).sum()))
        chosen = tuple(rng.choice(split, count, replace=False, p=weights / weights.sum()).tolist()) if count else ()
        concepts = _join([self.concepts[column] for column in chosen])
        present = np.flatnonzero(scores[split:] >= HIGH)
        if not len(present) or rng.random() >= self.emotion_share:
            return Caption(_pick(CONCEPT_PHRASINGS, rng).format(concepts), chosen) if chosen else None
        column, emotion = split + int(present[0]), self.emotions[present[0]]
        if not chosen:
            return Caption(_pick(EMOTION_PHRASINGS, rng).format(emotion), (column,))
        text = _pick(BOTH_PHRASINGS, rng).format(emotion=emotion, concepts=concepts)
        return Caption(text, (*chosen, column))

    def batch(self, scores: np.ndarray, composed: int, rng: np.random.Generator) -> list[Caption]:
        """The captions that one batch is trained on: the single ones, and composed ones of some of its images.

        Args:
            scores: (images, names) the batch's rows of the score table.
            composed: how many images get a composed caption.
            rng: the source of randomness.
        """
        images = rng.choice(len(scores), min(composed, len(scores)), replace=False)
        captions = self.single(rng) + [self.composed(scores[image], rng) for image in images]
        return list({caption.text: caption for caption in captions if caption is not None}.values())

    def texts(self) -> list[str]:
        """Texts that together hold every word the captions can hold."""
        known = [*CONCEPT_PHRASINGS, *EMOTION_PHRASINGS, *BOTH_PHRASINGS, "a, b and c", *self.concepts, *self.emotions]
        return [text.replace("{emotion}", " ").replace("{concepts}", " ").replace("{}", " ") for text in known]


def fit(scores: np.ndarray, captions: Sequence[Caption]) -> tuple[np.ndarray, np.ndarray]:
    """How well each caption fits each image: as well as its least fitting mention.

    A mention fits by its score, from 0 at LOW to 1 at HIGH.

    Args:
        scores: (images, names) score table.
        captions: the captions.

    Returns:
        Targets (images, captions) float32 in [0, 1], and which of them are known (images, captions) bool: a caption
        with an unmeasured mention is known only where another mention rules it out.
    """
    ramp = np.clip((scores - LOW) / (HIGH - LOW), 0, 1)
    columns = [ramp[:, list(caption.mentions)] for caption in captions]
    targets = np.stack([np.nan_to_num(part, nan=1.0).min(axis=1) for part in columns], axis=1)
    unmeasured = np.stack([np.isnan(part).any(axis=1) for part in columns], axis=1)
    known = ~unmeasured | (targets == 0)
    return targets.astype(np.float32), known


def teachable(annotations: np.ndarray) -> np.ndarray:
    """Which concepts a model can be taught (concepts,) bool: some image has them and some has not.

    Args:
        annotations: (images, concepts) float in [0, 1], NaN where not measured.
    """
    return np.any(annotations >= HIGH, axis=0) & np.any(annotations <= LOW, axis=0)


def score_table(annotations: np.ndarray, labels: np.ndarray, emotions: int) -> np.ndarray:
    """Annotations (images, concepts) and labels (images,) as one score table (images, concepts + emotions) float32."""
    return np.concatenate([annotations, np.eye(emotions)[labels] if emotions else np.empty((len(labels), 0))], axis=1)


def _pick(phrasings: Sequence[str], rng: np.random.Generator) -> str:
    return phrasings[int(rng.integers(len(phrasings)))]


def _join(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
