"""Settings of the edits, their search, their controls and their comparison with the baseline."""

from collections.abc import Sequence
from typing import Annotated, Literal

from emobench.schema import Bool, Float, Int, Str, count, named, settings, within

ARM_NAMES = (
    "similarity", "weight_norm", "proportional", "fdr", "accuracy", "faithfulness", "description", "effect",
)  # fmt: skip
"""The built-in ways of selecting units (see emobench.edits.arms)."""
BY_LAYER = "_by_layer"
SearchKind = Literal["free", "descriptions", "interpretable", "descriptions_by_layer", "interpretable_by_layer"]


@settings
class PaperCell:
    """The published edit: threshold and factor.

    Attributes:
        tau: threshold of similarity.
        factor: multiplies the rows above it and divides the others.
    """

    tau: Float
    factor: Annotated[Float, within(0)]


@settings
class Controls:
    """How many random assignments accompany each edit that is judged; 0: no controls, and no improvement is told.

    A kind stops once its draws, or the edit's own test, rule an improvement out, but not before ``least`` of them;
    never if ``least`` >= draws.

    Attributes:
        draws: random assignments of each kind; 0 for no controls.
        least: draws before which no kind stops.
    """

    draws: Annotated[Int, count(0, 10**7)]
    least: Annotated[Int, count(0, 10**7)]


@settings
class Search:
    """Searching for scales on images of one split (see emobench.edits.search); no kinds: no search.

    ``joint`` is searched by ``joint_kinds``, beside the edited layer alone.

    Attributes:
        kinds: scales of their own for units, for descriptions, or for interpretable and other units, or for these
            within each layer (``_by_layer``); empty: no search.
        split: images that scales are fitted to.
        joint: layers that are searched together; empty for none, ``all`` for all that can be edited.
        joint_kinds: kinds of the joint search.
        augment: whether the images are changed at random, as in training, while scales are fitted.
        images: at most so many; 0 for all.
        penalties: pulls of the scales towards one.
        exponents: powers of the scales found.
        folds: of the cross-fitting that chooses penalty and exponent.
        steps: of the optimiser.
        batch_size: images a step.
        learning_rate: of the optimiser.
    """

    kinds: list[SearchKind]
    split: Literal["train", "val"]
    joint: Literal["all"] | list[Str]
    joint_kinds: list[SearchKind]
    augment: Bool
    images: Annotated[Int, within(0)]
    penalties: list[Annotated[Float, within(0)]]
    exponents: list[Annotated[Float, within(0, 4)]]
    folds: Annotated[Int, count(2, 1000)]
    steps: Annotated[Int, count(1, 10**6)]
    batch_size: Annotated[Int, count(1, 10**6)]
    learning_rate: Annotated[Float, within(0, 1)]

    def joint_layers(self, editable: Sequence[str]) -> list[str]:
        """The layers that are searched together, of a network whose layers these are."""
        return list(editable if self.joint == "all" else self.joint)


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

    Attributes:
        layer: which layer; ``auto``: the one with the most units above tau, as in the paper.
        file: FILE of a FILE.py:FUNCTION among the arms once more, for DVC to watch; data/raw/none without.
        concept_set: by which descriptions edits go.
        similarity_fn: by whose similarity edits go.
        arms: selection strategies: which units are edited.
        taus: thresholds of the paper's strategy.
        factors: factors of the paper's strategies.
        paper: the published edit.
        operations: what is done to the units: their rows scaled, rows and bias scaled, outputs put to zero, or to their
            mean.
        divided_factors: factors of strategies that divide the other rows.
        lone_factors: factors of strategies that leave the other rows alone.
        concepts: of the strategy description; empty for one edit a class.
        controls: random controls.
        search: searching for scales.
        memory_gib: that sweeps hold at most, all processes together.
        jobs: processes of a sweep.
        scheduler: address of a Dask cluster; empty for none.
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
