"""Settings of the image-text model that scores concepts on images."""

from typing import Annotated, Literal

from pydantic import Field

from emobench.schema import Bool, Float, Int, Str, count, settings, within
from emobench.settings.data import Augment
from emobench.settings.network import Precision


@settings
class ClipTraining:
    """How a small CLIP is trained on the train images; ``captions``: composed ones in each batch.

    Attributes:
        embed_dim: width of the shared embedding.
        image_size: side of its pictures in pixels.
        image_width: width of the image tower.
        text_width: width of the text tower.
        text_layers: layers of the text tower.
        epochs: passes over the train images.
        batch_size: images a step.
        max_lr: highest learning rate.
        weight_decay: of the optimiser.
        captions: captions composed for each batch.
        emotion_captions: share of the captions that may speak of the class.
        precision: ``auto``: bfloat16 where the processor has units for it, else float32.
        augment: random changes of the train images.
    """

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
    """What every source has: ``prompts`` with {} for the concept, and how many images are embedded at a time.

    Attributes:
        input: the model's file or folder; data/raw/none without.
        prompts: texts with {} for the concept; their embeddings are averaged.
        batch_size: images that are embedded at a time.
        source: trained here, a local model, or a published one.
    """

    input: Str
    prompts: list[Str]
    batch_size: Annotated[Int, count(1, 10**6)]


@settings
class TrainedClip(_Prompted):
    """A small CLIP that is trained here, on the images and what is known of them.

    Its inputs are RGB in [0, 1], of which ``image_mean`` is taken off and ``image_std`` divides.

    Attributes:
        image_mean: taken off each channel.
        image_std: divides each channel.
        training: how it is trained.
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

    Attributes:
        model: open_clip's name of the architecture, for a bare weights file.
        image_mean: taken off each channel; empty where the file says.
        image_std: divides each channel; empty where the file says.
    """

    source: Literal["checkpoint"]
    model: Str
    image_mean: list[Annotated[Float, within(0, 1)]]
    image_std: list[Annotated[Float, within(0)]]


@settings
class PublishedClip(_Prompted):
    """A published tag of open_clip's; ``allow_hub``: it may be looked up.

    Attributes:
        model: open_clip's name of the architecture.
        tag: open_clip's name of the weights.
        allow_hub: whether it may be looked up on a model hub.
    """

    source: Literal["pretrained"]
    model: Str
    tag: Str
    allow_hub: Bool


Clip = Annotated[TrainedClip | GivenClip | PublishedClip, Field(discriminator="source")]
