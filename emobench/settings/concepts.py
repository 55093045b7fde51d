"""Settings of the image-text model that scores concepts on images."""

from typing import Annotated, Literal

from pydantic import Field

from emobench.schema import Bool, Float, Int, Str, count, settings, within
from emobench.settings.data import Augment
from emobench.settings.network import Precision


@settings
class ClipTraining:
    """How a small CLIP is trained on the train images; ``captions``: composed ones in each batch."""

    embed_dim: Annotated[Int, within(8, 10**5)]
    image_size: Annotated[Int, within(32, 4096)]
    image_width: Annotated[Int, within(8, 10**5)]
    text_width: Annotated[Int, within(8, 10**5)]
    text_layers: Annotated[Int, within(1, 1000)]
    epochs: Annotated[Int, count(1, 10**5)]
    batch_size: Annotated[Int, count(2, 10**6)]
    max_lr: Annotated[Float, within(0)]
    weight_decay: Annotated[Float, within(0)]
    captions: Annotated[Int, count(1, 10**5)]
    emotion_captions: Annotated[Float, within(0, 1)]
    precision: Precision
    augment: Augment


@settings
class _Prompted:
    """What every source has: ``prompts`` with {} for the concept, and how many images are embedded at a time."""

    input: Str
    prompts: list[Str]
    batch_size: Annotated[Int, count(1, 10**6)]


@settings
class TrainedClip(_Prompted):
    """A small CLIP that is trained here, on the images and what is known of them.

    Its inputs are RGB in [0, 1], of which ``image_mean`` is taken off and ``image_std`` divides.
    """

    source: Literal["train"]
    image_mean: list[Annotated[Float, within(0, 1)]]
    image_std: list[Annotated[Float, within(0)]]
    training: ClipTraining


@settings
class GivenClip(_Prompted):
    """A local CLIP: a folder as on the model hub, OpenAI's archive, or a weights file.

    ``model`` (open_clip's name), ``image_mean`` and ``image_std`` are needed for a weights file. Folder and archive
    know them: there they are empty ("" and []), or must be the same.
    """

    source: Literal["checkpoint"]
    model: Str
    image_mean: list[Annotated[Float, within(0, 1)]]
    image_std: list[Annotated[Float, within(0)]]


@settings
class PublishedClip(_Prompted):
    """A published tag of open_clip's; ``allow_hub``: it may be looked up."""

    source: Literal["pretrained"]
    model: Str
    tag: Str
    allow_hub: Bool


Clip = Annotated[TrainedClip | GivenClip | PublishedClip, Field(discriminator="source")]
