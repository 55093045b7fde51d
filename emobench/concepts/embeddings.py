"""Reading what the embed stage wrote, with the checks that keep one benchmark's numbers out of another's."""

from pathlib import Path

import numpy as np
import torch

from emobench.concepts.scores import ConceptScores, concept_scores
from emobench.errors import UserError
from emobench.files import file_digest
from emobench.stored import array_digest, existing, read_array, read_arrays, unusable
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
    existing(images_path, "embed")
    stored = read_arrays(concepts_path, "embed", ("images_digest", "image_embeddings_digest"))
    if str(stored["images_digest"]) != images_digest:
        raise UserError(f"{concepts_path} belongs to another image set; run the stage 'embed' again (dvc repro embed)")
    if str(stored["image_embeddings_digest"]) != file_digest(images_path):
        raise UserError(f"{images_path} and {concepts_path} are not of one run of a model; run the stage 'embed' again")
    images = torch.from_numpy(read_array(images_path, "embed", dtype="float32", shape=(None, None), mapped=False))
    if not torch.isfinite(images).all():
        raise UserError(f"{images_path} has NaN or infinite values; run the stage 'embed' again")
    scores = []
    for name, classes in vocabulary.sets.items():
        if not {name, f"{name}_names"} <= stored.keys() or not set(stored[f"{name}_names"].tolist()) <= set(classes):
            raise UserError(f"{concepts_path} lacks the concept set {name!r} as it is; run the stage 'embed' again")
        vectors, concepts = stored[name], stored[f"{name}_names"].tolist()
        if (
            vectors.dtype != np.float32
            or vectors.shape != (len(concepts), images.shape[1])
            or (vectors != vectors).any()
        ):
            what = f"{name} is {vectors.dtype} {vectors.shape}; expected float32 ({len(concepts)}, {images.shape[1]})"
            raise unusable(concepts_path, what, "embed")
        key = [name, concepts]
        if f"{name}_vectors_digest" in stored and str(stored[f"{name}_vectors_digest"]) != array_digest(vectors, key):
            raise unusable(concepts_path, f"the vectors of {name} are not those that were written", "embed")
        vectors = torch.from_numpy(vectors)
        scores.append(concept_scores(name, images, vectors, concepts, classes, vocabulary.classes))
    return images, scores
