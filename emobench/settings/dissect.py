"""Settings of the dissection: how units are described, and what a description is held against."""

from typing import Annotated, Literal

from emobench.schema import Float, Int, Str, count, named, settings, within

SIMILARITY_FNS = ("soft_wpmi", "wpmi", "rank_reorder", "cos_similarity", "cos_similarity_cubed")
"""The built-in score functions (see emobench.functional.similarity)."""


@settings
class SoftWpmi:
    """Parameters of soft_wpmi (see emobench.functional.similarity).

    Attributes:
        top_k: most activating images of a unit that count.
        a: inverse temperature of the softmax over concepts.
        lam: weight of the correction by the layer's mean.
        min_prob: added inside the logarithm.
        p_start: membership of the most activating image.
        p_end: membership that the last one approaches.
    """

    top_k: Annotated[Int, within(1)]
    a: Annotated[Float, within(0)]
    lam: Annotated[Float, within(0)]
    min_prob: Annotated[Float, within(0, 1)]
    p_start: Annotated[Float, within(0, 1)]
    p_end: Annotated[Float, within(0, 1)]


@settings
class Wpmi:
    """Parameters of wpmi.

    Attributes:
        top_k: most activating images of a unit that count.
        a: inverse temperature of the softmax over concepts.
        lam: weight of the correction by the layer's mean.
        min_prob: added inside the logarithm.
    """

    top_k: Annotated[Int, within(1)]
    a: Annotated[Float, within(0)]
    lam: Annotated[Float, within(0)]
    min_prob: Annotated[Float, within(0, 1)]


@settings
class RankReorder:
    """Parameters of rank_reorder.

    Attributes:
        p: power of the differences.
        top_fraction: share of the images that count.
        scale_p: power of the concept's mean score, which divides.
    """

    p: Annotated[Int, within(1)]
    top_fraction: Annotated[Float, within(0, 1)]
    scale_p: Annotated[Float, within(0)]


@settings
class Dissect:
    """How units are described, on which images, and what a description is held against.

    ``similarity_fns``: score functions, by name or as FILE.py:FUNCTION; ``file`` is that FILE once more (data/raw/none
    without), for DVC to watch.
    ``tau``: similarity above which the paper calls a unit interpretable. ``null_draws`` and ``fdr``: of the null.
    ``active_share`` and ``present_share``: on this share of the held-out images a unit is active, and a concept present
    by the image-text model. ``resamples``: of the probe, for stability. ``coherence_images``: top images for clarity.

    Attributes:
        similarity_fns: functions that hold concepts against units; each describes all units.
        file: FILE of a FILE.py:FUNCTION among them once more, for DVC to watch; data/raw/none without.
        probe: the probing set: which images units are described by; ``train_unique`` has no exact copies.
        tau: similarity above which the paper calls a unit interpretable.
        top_images: most activating images that label agreement looks at.
        null_draws: draws of the null distribution.
        fdr: q-value below which a unit is statistically significant.
        active_share: a unit is active on this share of the held-out images.
        present_share: a concept is present, by the image-text model, on this share of the held-out images.
        resamples: of the probing set, for the stability of descriptions; 0 for none.
        coherence_images: most activating images that clarity is measured on.
        soft_wpmi: parameters of soft_wpmi.
        wpmi: parameters of wpmi.
        rank_reorder: parameters of rank_reorder.
    """

    file: Str
    similarity_fns: list[Annotated[Str, named(*SIMILARITY_FNS)]]
    probe: Literal["train_unique", "train", "val", "test"]
    tau: Float
    top_images: Annotated[Int, count(1, 10**4)]
    null_draws: Annotated[Int, count(100, 10**8)]
    fdr: Annotated[Float, within(0, 1)]
    active_share: Annotated[Float, within(0, 1)]
    present_share: Annotated[Float, within(0, 1)]
    resamples: Annotated[Int, count(0, 10**4)]
    coherence_images: Annotated[Int, count(2, 10**4)]
    soft_wpmi: SoftWpmi
    wpmi: Wpmi
    rank_reorder: RankReorder
