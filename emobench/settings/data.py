"""Settings of the images and of what is measured on them: each source has only its own keys."""

from typing import Annotated, Literal

from pydantic import Field

from emobench.schema import Bool, Float, Int, Str, count, settings, within


@settings
class Drawn:
    """How many synthetic faces, and how often their label is drawn anew.

    Attributes:
        train: train images.
        val: validation images.
        test: test images.
        label_noise: share of the images whose label is drawn anew.
        shortcut: the class that a mark goes with in train and val, none in test; empty for none.
    """

    train: Annotated[Int, count(1, 10**7)]
    val: Annotated[Int, count(1, 10**7)]
    test: Annotated[Int, count(1, 10**7)]
    label_noise: Annotated[Float, within(0, 1)]
    shortcut: Literal["", "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]


@settings
class Audit:
    """The image audit (see emobench.faces.audit); ``placeholders``: removed by rules that were tuned on FER2013.

    Attributes:
        near_duplicate_distance: bits of a 64-bit picture hash in which near copies may differ.
        placeholders: whether blank and placeholder pictures are removed.
    """

    near_duplicate_distance: Annotated[Int, within(0, 64)]
    placeholders: Bool


@settings
class _Images:
    """What every source has; ``limit``: a stratified subset of so many images, 0 for all.

    Attributes:
        input: the raw images, which DVC watches; data/raw/none where there are none.
        limit: a stratified subset of so many images, to try a run; 0 for all.
        audit: the image audit.
        source: where the images come from.
    """

    input: Str
    limit: Annotated[Int, within(0)]
    audit: Audit


@settings
class DrawnFaces(_Images):
    """Faces that emobench draws, 48x48 and grey, with known truth.

    Attributes:
        synthetic: how many faces are drawn.
    """

    source: Literal["synthetic"]
    synthetic: Drawn


@settings
class _Stored(_Images):
    """Pictures that the user brought, stored as squares of ``size`` pixels, grey or RGB (``channels``).

    ``classes``: their names in label order, needed where files hold numbers; none to find them.

    Attributes:
        classes: names of the classes in the order of numbered labels; empty to find them.
        size: side of the stored pictures in pixels.
        channels: of the stored pictures: 1 for grey, 3 for RGB.
    """

    classes: list[Str]
    size: Annotated[Int, within(16, 1024)]
    channels: Literal[1, 3]


@settings
class Faces(_Stored):
    """A folder, a table, or a published set by its file names."""

    source: Literal["folder", "table", "rafdb", "jaffe", "kdef"]


@settings
class Fer2013(_Stored):
    """FER2013 in any of its forms; ``labels``: those in the files, or what most FER+ voters chose.

    Attributes:
        labels: those in the files, or what most FER+ voters chose.
    """

    source: Literal["fer2013"]
    labels: Literal["file", "ferplus"]


Data = Annotated[DrawnFaces | Faces | Fer2013, Field(discriminator="source")]


@settings
class Augment:
    """Random changes of the training images, drawn anew for every image of a batch.

    Attributes:
        degrees: largest rotation.
        translate: largest shift, as a share of the side.
        scale: largest change of size, as a share.
        flip: probability of a mirrored picture.
        erase: probability of an erased rectangle.
    """

    degrees: Annotated[Float, within(0, 180)]
    translate: Annotated[Float, within(0, 1)]
    scale: Annotated[Float, within(0, 1)]
    flip: Annotated[Float, within(0, 1)]
    erase: Annotated[Float, within(0, 1)]


@settings
class Annotate:
    """How the concepts are measured on each image; ``input`` is a landmark model file or a table.

    Attributes:
        source: known truth, landmark geometry, a table, or nothing.
        input: landmark model (.task) or table; data/raw/none without.
    """

    source: Literal["truth", "landmarks", "file", "none"]
    input: Str
