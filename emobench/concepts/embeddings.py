"""Reading what the embed stage wrote, with the checks that keep one benchmark's numbers out of another's."""

from pathlib import Path

import numpy as np
import torch

from emobench.concepts.scores import ConceptScores, concept_scores
from emobench.errors import UserError
from emobench.files import file_digest
from emobench.vocabulary.card import Vocabulary


def load_concept_scores(
    folder: Path, images_digest: str, vocabulary: Vocabulary
) -> tuple[torch.Tensor, list[ConceptScores]]:
    """Scores every concept set on all images by the cosine of the embeddings.

    Args:
        folder: where ``image_embeddings.npy`` (all images, dim) and ``concept_embeddings.npz`` lie.
        images_digest: of the image set in use; the embeddings must be of the same.
        vocabulary: the concept sets, and their concepts' classes.

    Returns:
        The images' embeddings (images, dim), unit vectors, and the scores of each set.

    Raises:
        UserError: a file is missing, of another image set, or lacks a concept set.
    """
    images_path, concepts_path = folder / "image_embeddings.npy", folder / "concept_embeddings.npz"
    for path in (images_path, concepts_path):
        if not path.is_file():
            raise UserError(f"no {path}; run the stage 'embed' first (dvc repro embed)")
    with np.load(concepts_path, allow_pickle=False) as file:
        stored = dict(file)
    if str(stored["images_digest"]) != images_digest:
        raise UserError(f"{concepts_path} belongs to another image set; run the stage 'embed' again (dvc repro embed)")
    if str(stored["image_embeddings_digest"]) != file_digest(images_path):
        raise UserError(f"{images_path} and {concepts_path} are not of one run of a model; run the stage 'embed' again")
    images = torch.from_numpy(np.load(images_path, allow_pickle=False))
    if not torch.isfinite(images).all():
        raise UserError(f"{images_path} has NaN or infinite values; run the stage 'embed' again")
    scores = []
    for name, classes in vocabulary.sets.items():
        if name not in stored or not set(stored[f"{name}_names"].tolist()) <= set(classes):
            raise UserError(f"{concepts_path} lacks the concept set {name!r} as it is; run the stage 'embed' again")
        vectors, concepts = torch.from_numpy(stored[name]), stored[f"{name}_names"].tolist()
        scores.append(concept_scores(name, images, vectors, concepts, classes, vocabulary.classes))
    return images, scores
