"""Stage embed: one unit vector for every image and for every concept, and the class that is nearest to each concept."""

import shutil

import numpy as np

from emobench.concepts.class_table import class_table
from emobench.concepts.clip import WEIGHTS, ClipModel, load_clip
from emobench.concepts.embedding import embed_all
from emobench.device import pick_device
from emobench.errors import UserError
from emobench.faces.imageset import load_imageset
from emobench.files import file_digest, replacing, write_arrays, write_csv
from emobench.layout import Layout
from emobench.params import Params
from emobench.seen import note
from emobench.stored import array_digest
from emobench.vocabulary.card import Vocabulary, load_vocabulary

GIVEN = (
    "data/{name}/dataset.json", "data/{name}/vocabulary.json", "reports/{name}/audit.json",
    "models/{name}/clip/clip.json", "reports/{name}/clip.json", "reports/{name}/clip_concepts.csv",
)  # fmt: skip
"""What is noted for the stages that use or show it. The card of the images holds their digest and the index's."""


def run(params: Params, layout: Layout) -> None:
    """Writes image_embeddings.npy, concept_embeddings.npz (vectors and names by set) and concept_classes.csv."""
    imageset, vocabulary, folder = load_imageset(layout.data), load_vocabulary(layout.data), layout.models / "clip"
    clip, settings = load_clip(folder, pick_device(params.device)), params.clip
    digests = {"images_digest": imageset.digest(), "clip_digest": file_digest(folder / WEIGHTS)}
    if clip.origin.images_digest not in ("", digests["images_digest"]):
        raise UserError(f"{folder} was trained on another image set; run the stage 'clip' again")
    concepts = {label: _candidates(clip, vocabulary, label) for label in vocabulary.sets}
    vectors = {label: clip.embed_texts(names, settings.prompts) for label, names in concepts.items()}
    table = class_table(clip, vocabulary, concepts, vectors, settings.prompts)
    partial = layout.partial_for("embed", digests, dict(clip.preprocess), settings.batch_size, clip.device)
    images = layout.artifacts / "image_embeddings.npy"
    with replacing(images) as temporary:
        shutil.move(embed_all(clip, imageset.images, settings.batch_size, partial), temporary)
    shutil.rmtree(partial)
    arrays = {name: np.array(value) for name, value in digests.items()}
    for label, names in concepts.items():
        arrays |= {label: vectors[label], f"{label}_names": np.array(names)}
        arrays[f"{label}_vectors_digest"] = np.array(array_digest(vectors[label], [label, names]))
    # So that vectors of images and of concepts that come from two models are never compared.
    arrays["image_embeddings_digest"] = np.array(file_digest(images))
    write_arrays(layout.artifacts / "concept_embeddings.npz", arrays, compressed=False)
    write_csv(layout.reports / "concept_classes.csv", table)
    note(layout, "embed", GIVEN)


def _candidates(clip: ClipModel, vocabulary: Vocabulary, label: str) -> list[str]:
    """The concepts of a set that the model can rank, at least two."""
    concepts, unmeasured = clip.origin.candidates(vocabulary.concepts(label))
    if len(concepts) < 2:
        more = ", ".join([*unmeasured[:20], *["..."] * (len(unmeasured) > 20)])
        raise UserError(
            f"concept set {label}: the CLIP trained here was taught only {len(concepts)} of its concepts (not: {more});"
            " expected at least 2: annotate them, drop the set, or use another clip.source"
        )
    return concepts
