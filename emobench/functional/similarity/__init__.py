"""The similarity functions of CLIP-Dissect and their nulls."""

from emobench.functional.similarity.scores import (
    cos_similarity,
    cos_similarity_cubed,
    rank_reorder,
    soft_wpmi,
    wpmi,
)

__all__ = ["cos_similarity", "cos_similarity_cubed", "rank_reorder", "soft_wpmi", "wpmi"]
