"""Settings of the image-text model that scores concepts on images."""

from typing import Annotated, Literal

from pydantic import Field

from emobench.schema import Bool, Str, count, integer, real, settings
from emobench.settings.data import Augment
from emobench.settings.network import Precision


@settings
class ClipTraining:
    """How a small CLIP is trained on the train images; ``captions``: composed ones in each batch."""

    embed_dim: integer(8, 10**5)
    image_size: integer(32, 4096)
    image_width: integer(8, 10**5)
    text_width: integer(8, 10**5)
    text_layers: integer(1, 1000)
    epochs: count(1, 10**5)
    batch_size: count(2, 10**6)
    max_lr: real(0)
    weight_decay: real(0)
    captions: count(1, 10**5)
    emotion_captions: real(0, 1)
    precision: Precision
    augment: Augment


@settings
class _Prompted:
    """What every source has: ``prompts`` with {} for the concept, and how many images are embedded at a time."""

    input: Str
    prompts: list[Str]
    batch_size: count(1, 10**6)


@settings
class TrainedClip(_Prompted):
    """A small CLIP that is trained here, on the images and what is known of them.

    Its inputs are RGB in [0, 1], of which ``image_mean`` is taken off and ``image_std`` divides.
    """

    source: Literal["train"]
    image_mean: list[real(0, 1)]
    image_std: list[real(0)]
    training: ClipTraining


@settings
class GivenClip(_Prompted):
    """A local CLIP: a folder as on the model hub, OpenAI's archive, or a weights file.

    ``model`` (open_clip's name), ``image_mean`` and ``image_std`` are needed for a weights file. Folder and archive
    know them: there they are empty ("" and []), or must be the same.
    """

    source: Literal["checkpoint"]
    model: Str
    image_mean: list[real(0, 1)]
    image_std: list[real(0)]


@settings
class PublishedClip(_Prompted):
    """A published tag of open_clip's; ``allow_hub``: it may be looked up."""

    source: Literal["pretrained"]
    model: Str
    tag: Str
    allow_hub: Bool


Clip = Annotated[TrainedClip | GivenClip | PublishedClip, Field(discriminator="source")]
