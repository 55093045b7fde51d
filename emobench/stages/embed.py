"""Stage embed: one unit vector for every image and for every concept."""

import numpy as np

from emobench.concepts.clip import WEIGHTS, ClipModel, load_clip
from emobench.device import pick_device
from emobench.errors import UserError
from emobench.faces.imageset import load_imageset
from emobench.files import file_digest, replacing
from emobench.layout import Layout
from emobench.params import Params
from emobench.vocabulary import concept_set, set_label


def run(params: Params, layout: Layout) -> None:
    """Writes image_embeddings.npy (images, dim) and concept_embeddings.npz (vectors and names by concept set)."""
    imageset = load_imageset(layout.data)
    clip = load_clip(layout.models / "clip", pick_device(params.device))
    arrays = {"images_digest": np.array(imageset.digest())}
    if clip.origin.images_digest not in ("", str(arrays["images_digest"])):
        raise UserError(f"{layout.models / 'clip'} was trained on another image set; run the stage 'clip' again")
    arrays["clip_digest"] = np.array(file_digest(layout.models / "clip" / WEIGHTS))
    for name in params.concept_sets:
        concepts = _candidates(clip, name)
        arrays[set_label(name)] = clip.embed_texts(concepts, params.clip.prompts)
        arrays[f"{set_label(name)}_names"] = np.array(concepts)
    images = layout.artifacts / "image_embeddings.npy"
    with replacing(images) as temporary:
        shape = len(imageset.images), clip.config["embed_dim"]
        stored = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        clip.embed_images(imageset.images, params.clip.batch_size, out=stored)
        stored.flush()
    # So that vectors of images and of concepts that come from two models are never compared.
    arrays["image_embeddings_digest"] = np.array(file_digest(images))
    with replacing(layout.artifacts / "concept_embeddings.npz") as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def _candidates(clip: ClipModel, name: str) -> list[str]:
    """The concepts of a set that the model can rank, at least two."""
    concepts, unmeasured = clip.origin.candidates(concept_set(name))
    if len(concepts) < 2:
        raise UserError(
            f"concept set {name}: the CLIP trained here was taught only {len(concepts)} of its concepts (not: "
            f"{', '.join(unmeasured)}); expected at least 2: annotate them, drop the set, or use another clip.source"
        )
    return concepts
