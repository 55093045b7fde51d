"""Which class a CLIP finds nearest to each concept, beside the map that tells which classes it speaks for.

This is the seed's ``mp_calculation``: cosines of concept and class names as texts.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from emobench.concepts.clip import ClipModel
from emobench.vocabulary.card import Vocabulary


def class_table(
    clip: ClipModel, vocabulary: Vocabulary, concepts: Mapping[str, Sequence[str]], vectors: Mapping[str, np.ndarray],
    prompts: Sequence[str],
) -> pd.DataFrame:  # fmt: skip
    """Holds every concept's nearest class against the map.

    Args:
        clip: embeds the class names. One that was trained here without some of them has no cosine for those.
        vocabulary: the classes, and those that each concept speaks for.
        concepts: the embedded concepts of each set.
        vectors: their unit vectors float32 (concepts, dim), by set.
        prompts: as for the concepts.

    Returns:
        A row a concept: ``concept_set, concept, cosine_<class>`` for each class in order, ``nearest`` (a class),
        ``mapped`` (classes, parted by |) and ``agrees``: 1 where the nearest class is a mapped one, 0 where it isn't,
        NaN where the map has none or no class could be embedded.
    """
    known = clip.origin.candidates(vocabulary.classes)[0]
    classes = clip.embed_texts(known, prompts)
    places = [vocabulary.classes.index(name) for name in known]
    tables = []
    for label, names in concepts.items():
        cosines = np.full((len(names), len(vocabulary.classes)), np.nan)
        cosines[:, places] = vectors[label] @ classes.T
        nearest = [known[column] for column in cosines[:, places].argmax(1)] if known else [""] * len(names)
        mapped = [vocabulary.speaks(label)[name] for name in names]
        agrees = [float(near in to) if near and to else np.nan for near, to in zip(nearest, mapped, strict=True)]
        columns = {f"cosine_{name}": cosines[:, column] for column, name in enumerate(vocabulary.classes)}
        last = {"nearest": nearest, "mapped": ["|".join(to) for to in mapped], "agrees": agrees}
        tables.append(pd.DataFrame({"concept_set": label, "concept": names, **columns, **last}))
    return pd.concat(tables, ignore_index=True)
