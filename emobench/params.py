"""params.yaml as frozen dataclasses, one a section. Values live in the file only: nothing here has a default.

Unknown, missing, wrongly typed and out-of-range keys are errors that name the section and the key.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from emobench.errors import UserError, unknown_name
from emobench.schema import choice, number, parse

CONV_LAYERS = ("conv1a", "conv1b", "conv2a", "conv2b", "conv3a", "conv3b", "conv4a", "conv4b")
LAYERS = (*CONV_LAYERS, "lin1", "lin2", "lin3")
"""The eleven layers of VGGNet that have units, in forward order."""
SIMILARITY_FNS = ("soft_wpmi", "wpmi", "rank_reorder", "cos_similarity", "cos_similarity_cubed")
PAPER_ARMS = ("similarity", "weight_norm", "proportional")


@dataclass(frozen=True)
class Synthetic:
    """How many synthetic faces, and how often their label is drawn anew."""

    train: int = number(1)
    val: int = number(1)
    test: int = number(1)
    label_noise: float = number(0, 1)


@dataclass(frozen=True)
class Audit:
    """The image audit (see emobench.faces.audit); ``placeholders``: removed by rules that were tuned on FER2013."""

    near_duplicate_distance: int = number(0, 64)
    placeholders: bool


@dataclass(frozen=True)
class Data:
    """Where the images come from, and how they are stored: squares of ``size`` pixels, grey or RGB (``channels``).

    ``classes``: their names in label order, needed where files hold numbers; none to find them. ``labels``: those in
    the files, or what most FER+ voters chose, beside FER2013.
    """

    source: str = choice("synthetic", "folder", "table", "fer2013", "rafdb", "jaffe", "kdef")
    input: str
    classes: list[str]
    labels: str = choice("file", "ferplus")
    size: int = number(16, 1024)
    channels: int = choice(1, 3)
    limit: int = number(0)
    synthetic: Synthetic
    audit: Audit


@dataclass(frozen=True)
class Annotate:
    """How the concepts are measured on each image; ``input`` is a landmark model file or a table."""

    source: str = choice("truth", "landmarks", "file", "none")
    input: str


@dataclass(frozen=True)
class Augment:
    """Random changes of the training images, drawn anew for every image of a batch."""

    degrees: float = number(0, 180)
    translate: float = number(0, 1)
    scale: float = number(0, 1)
    flip: float = number(0, 1)
    erase: float = number(0, 1)


@dataclass(frozen=True)
class Baseline:
    """The network that is dissected: trained here, or given weights."""

    source: str = choice("train", "weights")
    weights: str
    width: float = number(0.01, 4)
    dropout: float = number(0, 0.95)
    epochs: int = number(1)
    batch_size: int = number(2)
    max_lr: float = number(0)
    momentum: float = number(0, 1)
    weight_decay: float = number(0)
    label_smoothing: float = number(0, 0.99)
    precision: str = choice("auto", "float32", "bfloat16")
    augment: Augment


@dataclass(frozen=True)
class ClipTraining:
    """How a small CLIP is trained on the train images (source: train); ``captions``: composed ones in each batch."""

    embed_dim: int = number(8)
    image_size: int = number(32)
    image_width: int = number(8)
    text_width: int = number(8)
    text_layers: int = number(1)
    epochs: int = number(1)
    batch_size: int = number(2)
    max_lr: float = number(0)
    weight_decay: float = number(0)
    captions: int = number(1)
    emotion_captions: float = number(0, 1)
    precision: str = choice("auto", "float32", "bfloat16")
    augment: Augment


@dataclass(frozen=True)
class Clip:
    """The image-text model: trained here, a local checkpoint, or a published tag."""

    source: str = choice("train", "checkpoint", "pretrained")
    weights: str
    model: str
    tag: str
    image_mean: list[float] = number(0, 1)
    image_std: list[float] = number(0)
    prompts: list[str]
    allow_hub: bool
    batch_size: int = number(1)
    training: ClipTraining


@dataclass(frozen=True)
class Record:
    """How activations are recorded, and of which controls.

    ``untrained``: the same network with random weights; ``noise``: sigma of the noise on inputs in [0, 1], 0 for none.
    """

    pool: str = choice("avg", "max")
    batch_size: int = number(1)
    untrained: bool
    noise: float = number(0, 1)


@dataclass(frozen=True)
class SoftWpmi:
    """Parameters of soft_wpmi (see emobench.functional.similarity.scores)."""

    top_k: int = number(1)
    a: float = number(0)
    lam: float = number(0)
    min_prob: float = number(0, 1)
    p_start: float = number(0, 1)
    p_end: float = number(0, 1)


@dataclass(frozen=True)
class Wpmi:
    """Parameters of wpmi."""

    top_k: int = number(1)
    a: float = number(0)
    lam: float = number(0)
    min_prob: float = number(0, 1)


@dataclass(frozen=True)
class RankReorder:
    """Parameters of rank_reorder."""

    p: int = number(1)
    top_fraction: float = number(0, 1)
    scale_p: float = number(0)


@dataclass(frozen=True)
class Dissect:
    """How units are described, on which images, and what a description is held against.

    ``tau``: similarity above which the paper calls a unit interpretable. ``null_draws`` and ``fdr``: of the null.
    ``active_share`` and ``present_share``: on this share of the held-out images a unit is active, and a concept present
    by the image-text model. ``resamples``: of the probe, for stability. ``coherence_images``: top images for clarity.
    """

    similarity_fns: list[str] = choice(*SIMILARITY_FNS)
    probe: str = choice("train_unique", "train", "val", "test")
    tau: float
    top_images: int = number(1)
    null_draws: int = number(100)
    fdr: float = number(0, 1)
    active_share: float = number(0, 1)
    present_share: float = number(0, 1)
    resamples: int = number(0)
    coherence_images: int = number(2)
    soft_wpmi: SoftWpmi
    wpmi: Wpmi
    rank_reorder: RankReorder


@dataclass(frozen=True)
class PaperCell:
    """The published edit: threshold and factor."""

    tau: float
    factor: float = number(0)


@dataclass(frozen=True)
class Controls:
    """How many random assignments accompany each edit that is judged; 0: no controls, and no improvement is told.

    A kind stops once its draws rule an improvement out, but not before ``least`` of them; never if ``least`` >= draws.
    """

    draws: int = number(0)
    least: int = number(0)


@dataclass(frozen=True)
class Search:
    """Searching for scales on images of one split (see emobench.edits.search); no kinds: no search.

    ``joint``: layers that are searched together, by ``joint_kinds``, beside the edited layer alone; none to leave that
    out. ``images``: at most so many, 0 for all. ``strengths``: powers of the scales found. ``folds``: of cross-fitting.
    """

    kinds: list[str] = choice("free", "descriptions", "interpretable")
    split: str = choice("train", "val")
    joint: list[str] = choice(*LAYERS[:-1])
    joint_kinds: list[str] = choice("free", "descriptions", "interpretable")
    images: int = number(0)
    pulls: list[float] = number(0)
    strengths: list[float] = number(0, 4)
    folds: int = number(2)
    steps: int = number(1)
    batch_size: int = number(1)
    learning_rate: float = number(0, 1)


@dataclass(frozen=True)
class Edit:
    """Which edits are tried, on which layer; ``auto`` is the paper's choice of layer (see emobench.edits.arms).

    ``factors`` are the paper's arms', ``divided_factors`` and ``lone_factors`` those of the arms that select units
    otherwise and divide the others or leave them alone; ``concepts``: those of arm description, none for every class.
    Sweeps run in ``jobs`` processes (1: in threads of one), or on the Dask cluster with the address ``scheduler``
    (empty: none), and hold at most ``memory_gib`` in all of them together.
    """

    layer: str = choice("auto", *LAYERS[:-1])
    concept_set: str
    similarity_fn: str = choice(*SIMILARITY_FNS)
    arms: list[str] = choice(*PAPER_ARMS, "fdr", "accuracy", "faithfulness", "description", "effect")
    taus: list[float]
    factors: list[float] = number(0, 4)
    paper: PaperCell
    operations: list[str] = choice("rows", "rows_bias", "zero", "mean")
    divided_factors: list[float] = number(0, 4)
    lone_factors: list[float] = number(0, 4)
    concepts: list[str]
    controls: Controls
    search: Search
    memory_gib: float = number(0.05)
    jobs: int = number(1)
    scheduler: str


@dataclass(frozen=True)
class Compare:
    """Statistics of the comparison with the baseline."""

    bootstrap_draws: int = number(100)
    confidence: float = number(0.5, 0.999)


@dataclass(frozen=True)
class Report:
    """How much the report shows."""

    top_units: int = number(1)
    top_images: int = number(1)


@dataclass(frozen=True)
class Track:
    """What is logged to MLflow beside numbers."""

    pictures: bool


@dataclass(frozen=True)
class Params:
    """All of params.yaml."""

    name: str
    seed: int = number(0)
    device: str = choice("cpu", "cuda", "auto")
    data: Data
    annotate: Annotate
    baseline: Baseline
    clip: Clip
    record: Record
    concept_sets: list[str]
    dissect: Dissect
    edit: Edit
    compare: Compare
    report: Report
    track: Track


def load_params(path: Path | str = "params.yaml") -> Params:
    """Reads and checks params.yaml.

    Raises:
        UserError: no such file, not YAML, or a key that is unknown, missing, of another type or out of range.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        # YAML 1.2, as DVC writes it: 1e-05 is a number there, a text in YAML 1.1.
        values = YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"no {path} here; run this in the benchmark's folder, or write one: emobench use demo"
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    params = parse(Params, values, "")
    _check_together(params)
    return params


def _check_together(params: Params) -> None:
    """Checks what no single key shows."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", params.name):
        raise UserError(f"params: name is {params.name!r}; expected small letters, digits, '_' and '-'")
    labels = [Path(name).stem for name in params.concept_sets]
    if not labels or len(set(labels)) < len(labels):
        raise UserError(f"params: concept_sets is {params.concept_sets}; expected at least one, each once")
    if params.edit.concept_set not in labels:
        raise unknown_name("params: edit.concept_set", params.edit.concept_set, labels)
    if params.edit.similarity_fn not in params.dissect.similarity_fns:
        raise unknown_name("params: edit.similarity_fn", params.edit.similarity_fn, params.dissect.similarity_fns)
    _check_data(params.data)
    _check_edit(params.edit)
    if params.dissect.soft_wpmi.p_end > params.dissect.soft_wpmi.p_start:
        raise UserError("params: dissect.soft_wpmi.p_end is above p_start; expected p_start >= p_end")


def _check_data(data: Data) -> None:
    """Drawn faces are what they are; votes belong to FER2013."""
    if data.source == "synthetic" and (data.size, data.channels, data.classes) != (48, 1, []):
        raise UserError(
            f"params: data.size is {data.size}, channels {data.channels}, classes {data.classes}, but drawn faces are "
            "48, 1 and []"
        )
    if data.labels == "ferplus" and data.source != "fer2013":
        raise UserError(f"params: data.labels is ferplus, which needs source fer2013; data.source is {data.source}")


def _check_edit(edit: Edit) -> None:
    """An edit needs something to try, and no 0 where the other rows are divided by the factor."""
    for name in ("arms", "taus", "factors", "operations"):
        if not getattr(edit, name):
            raise UserError(f"params: edit.{name} is empty; expected at least one value")
    dividing = {"factors": ("similarity", "weight_norm"), "divided_factors": ("fdr", "accuracy", "faithfulness")}
    for name, arms in dividing.items():
        arm = next((arm for arm in arms if arm in edit.arms), None)
        if arm is not None and 0 in getattr(edit, name):
            raise UserError(f"params: edit.{name} has a 0, but arm {arm} divides the other rows by it; expected > 0")
    if edit.paper.factor == 0 and "similarity" in edit.arms:
        raise UserError("params: edit.paper.factor is 0, but the other rows are divided by it; expected > 0")
    search = edit.search
    if (search.kinds or search.joint) and (not search.pulls or not search.strengths or 0 in search.strengths):
        raise UserError("params: edit.search.pulls and strengths need at least one value each, and no strength of 0")
    if len(set(search.joint)) < len(search.joint) or len(search.joint) == 1:
        raise UserError(f"params: edit.search.joint is {search.joint}; expected no layer, or at least two, each once")
