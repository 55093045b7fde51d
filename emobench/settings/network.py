"""Settings of the network that is dissected, and of the recording of its units."""

from typing import Annotated, Any, Literal

from pydantic import Field

from emobench.schema import Bool, Float, Int, Str, count, settings, within
from emobench.settings.data import Augment

Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["cpu", "cuda", "auto"]


def file_of(architecture: str) -> tuple[str, str]:
    """FILE and FUNCTION of ``FILE.py:FUNCTION``; FILE and "" of a bare ``FILE.py`` or ``FILE.pt2``; "" and "" without.

    >>> file_of("nets/mine.py:build"), file_of("mine.pt2"), file_of("timm/resnet18")
    (('nets/mine.py', 'build'), ('mine.pt2', ''), ('', ''))
    """
    path, _, function = architecture.rpartition(":")
    if path.endswith(".py"):
        return path, function
    return (architecture, "") if architecture.endswith((".py", ".pt2")) else ("", "")


@settings
class Picture:
    """What the network takes: pictures of ``size`` (height, width) and 1 or 3 channels, with values in ``range``.

    They are resized to ``size`` / ``crop`` and cropped in the centre; then ``mean`` is taken off and ``std`` divides:
    one number a channel, none for neither.

    Attributes:
        channels: 1 for grey, 3 for RGB.
        size: height and width in pixels.
        range: lowest and highest value of a pixel.
        mean: taken off, a number a channel; empty for nothing.
        std: divides, a number a channel; empty for nothing.
        interpolation: of the resizing.
        crop: the share of the resized picture that the centre crop keeps.
    """

    channels: Literal[1, 3]
    size: list[Annotated[Int, within(1, 4096)]]
    range: list[Float]
    mean: list[Float]
    std: list[Float]
    interpolation: Literal["nearest", "bilinear", "bicubic"]
    crop: Annotated[Float, within(0.1, 1)]


@settings
class NetworkTraining:
    """How the network is trained: SGD with a one-cycle schedule; the best epoch on val is taken.

    Attributes:
        epochs: passes over the train images.
        batch_size: images a step.
        max_lr: highest learning rate of the one-cycle schedule.
        momentum: of SGD.
        weight_decay: of SGD.
        label_smoothing: share of the target given to all classes alike.
        precision: ``auto``: bfloat16 where the processor has units for it, else float32.
        augment: random changes of the train images.
    """

    epochs: Annotated[Int, count(1, 10**5)]
    batch_size: Annotated[Int, count(2, 10**6)]
    max_lr: Annotated[Float, within(0)]
    momentum: Annotated[Float, within(0, 1)]
    weight_decay: Annotated[Float, within(0)]
    label_smoothing: Annotated[Float, within(0, 0.99)]
    precision: Precision
    augment: Augment


@settings
class _Architecture:
    """What every network has.

    ``architecture``: vggnet, deep_emotion, torchvision/NAME, timm/NAME, FILE.py:FUNCTION or FILE.pt2; ``options`` go to
    its builder, ``file`` is FILE once more (data/raw/none without), for DVC to watch. ``picture``: what it takes, or
    auto for what its architecture says. ``layers``: globs of layer names, or auto for all that have units.

    Attributes:
        architecture: vggnet, deep_emotion, torchvision/NAME, timm/NAME, FILE.py:FUNCTION or FILE.pt2.
        options: for its builder.
        file: FILE once more, for DVC to watch; data/raw/none without.
        input: weights; data/raw/none where it is trained here.
        picture: what the network takes; ``auto``: what its architecture says.
        layers: globs of layer names; ``auto``: all that have units.
        source: trained here, or given weights.
    """

    architecture: Str
    options: dict[str, Any]
    file: Str
    input: Str
    picture: Literal["auto"] | Picture
    layers: Literal["auto"] | list[Str]


@settings
class TrainedNetwork(_Architecture):
    """A network that is trained here; its outputs are the data set's classes.

    Attributes:
        train: how it is trained.
    """

    source: Literal["train"]
    train: NetworkTraining


@settings
class GivenNetwork(_Architecture):
    """A network with given weights.

    ``classes`` names its outputs in their order (empty: the data set's); ``output``: which of several outputs holds the
    logits, empty if there is one; ``sha256``: of a .pt2 file, which is not loaded without.

    Attributes:
        classes: names of its outputs in their order; empty: the data's.
        output: which of several outputs holds the logits; empty if there is one.
        sha256: of a .pt2 file, which is not loaded without.
    """

    source: Literal["weights"]
    classes: list[Str]
    output: Str
    sha256: Str


Network = Annotated[TrainedNetwork | GivenNetwork, Field(discriminator="source")]


@settings
class Record:
    """How activations are recorded, and of which controls.

    ``pool``: of a convolution's units, over space; ``tokens``: of a token's, mean over all but prefix tokens, or cls.
    ``untrained``: the same network with random weights; ``noise``: sigma of the noise on inputs, 0 for none.

    Attributes:
        pool: of a convolution's units over space: mean or maximum.
        tokens: of a token's units: mean over tokens, or the class token.
        batch_size: images at a time.
        untrained: whether the same network with random weights is recorded too.
        noise: sigma of the noise on the images of a second recording; 0 for none.
    """

    pool: Literal["avg", "max"]
    tokens: Literal["mean", "cls"]
    batch_size: Annotated[Int, count(1, 10**6)]
    untrained: Bool
    noise: Annotated[Float, within(0, 1)]
