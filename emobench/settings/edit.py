"""Settings of the edits, their search, their controls and their comparison with the baseline."""

from typing import Annotated, Literal

from emobench.schema import Float, Int, Str, count, named, settings, within

ARM_NAMES = (
    "similarity", "weight_norm", "proportional", "fdr", "accuracy", "faithfulness", "description", "effect",
)  # fmt: skip
"""The built-in ways of selecting units (see emobench.edits.arms)."""
SearchKind = Literal["free", "descriptions", "interpretable"]


@settings
class PaperCell:
    """The published edit: threshold and factor."""

    tau: Float
    factor: Annotated[Float, within(0)]


@settings
class Controls:
    """How many random assignments accompany each edit that is judged; 0: no controls, and no improvement is told.

    A kind stops once its draws rule an improvement out, but not before ``least`` of them; never if ``least`` >= draws.
    """

    draws: Annotated[Int, count(0, 10**7)]
    least: Annotated[Int, count(0, 10**7)]


@settings
class Search:
    """Searching for scales on images of one split (see emobench.edits.search); no kinds: no search.

    ``joint``: layers that are searched together, by ``joint_kinds``, beside the edited layer alone; none to leave that
    out. ``images``: at most so many, 0 for all. ``exponents``: powers of the scales found. ``folds``: of cross-fitting.
    """

    kinds: list[SearchKind]
    split: Literal["train", "val"]
    joint: list[Str]
    joint_kinds: list[SearchKind]
    images: Annotated[Int, within(0)]
    penalties: list[Annotated[Float, within(0)]]
    exponents: list[Annotated[Float, within(0, 4)]]
    folds: Annotated[Int, count(2, 1000)]
    steps: Annotated[Int, count(1, 10**6)]
    batch_size: Annotated[Int, count(1, 10**6)]
    learning_rate: Annotated[Float, within(0, 1)]


@settings
class Edit:
    """Which edits are tried, on which layer; ``auto`` is the paper's choice of layer (see emobench.edits.arms).

    ``arms`` are named, or FILE.py:FUNCTION; ``file`` is that FILE once more (data/raw/none without), for DVC to watch.
    ``similarity_fn`` is one of dissect.similarity_fns, a user's own by the name of its FUNCTION.
    ``factors`` are the paper's arms', ``divided_factors`` and ``lone_factors`` those of the arms that select units
    otherwise and divide the others or leave them alone; ``concepts``: those of arm description, none for every class.
    No arms and no searches: nothing is edited.
    Sweeps run in ``jobs`` processes (1: in threads of one), or on the Dask cluster with the address ``scheduler``
    (empty: none), and hold at most ``memory_gib`` in all of them together.
    """

    layer: Str
    concept_set: Str
    similarity_fn: Str
    file: Str
    arms: list[Annotated[Str, named(*ARM_NAMES)]]
    taus: list[Float]
    factors: list[Annotated[Float, within(0, 4)]]
    paper: PaperCell
    operations: list[Literal["rows", "rows_bias", "zero", "mean"]]
    divided_factors: list[Annotated[Float, within(0, 4)]]
    lone_factors: list[Annotated[Float, within(0, 4)]]
    concepts: list[Str]
    controls: Controls
    search: Search
    memory_gib: Annotated[Float, within(0.05)]
    jobs: Annotated[Int, count(1, 1024)]
    scheduler: Str

    @property
    def asked(self) -> bool:
        """Whether any edit is tried; if not, the benchmark only dissects."""
        return bool(self.arms or self.search.kinds or (self.search.joint and self.search.joint_kinds))
