"""Whether what params.yaml names is there and fits together, tried with one batch and without the work."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from emobench.concepts.annotations import look_at_table
from emobench.edits.contract import contract_in_words
from emobench.errors import UserError, unknown_name
from emobench.faces.raw import RawImages
from emobench.faces.sources import look_at
from emobench.inputs.concepts import FEWEST, annotated
from emobench.inputs.foresight import check_probe, power_in_words
from emobench.inputs.network import network_in_words, picture_in_words
from emobench.inputs.own_choices import check_concepts_of_edits, own_mistakes
from emobench.layout import Layout
from emobench.networks.network import Network
from emobench.params import NONE, Params
from emobench.vocabulary import is_file, set_label
from emobench.vocabulary.card import vocabulary_of

SAMPLE = 200
"""Val images that accuracy is told of."""
SPLITS = ("val", "", "test", "train")
"""Which split the sample is of: the first that there is. The empty one: not split yet."""


@dataclass
class Findings:
    """What was found, in lines: facts, and mistakes. The keys of ``figures`` are for programs."""

    said: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    figures: dict[str, float | int] = field(default_factory=dict)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Notes a mistake that the block meets, so that the next thing is still tried."""
        try:
            yield
        except UserError as error:
            self.mistakes.append(" ".join(str(error).split()))


def check_inputs(params: Params, root: Path) -> None:
    """Tries everything that params name, see :func:`try_inputs`.

    Raises:
        UserError: the first mistake.
    """
    if mistakes := try_inputs(params, root).mistakes:
        raise UserError(mistakes[0])


def try_inputs(params: Params, root: Path) -> Findings:
    """Tries one batch through images, network, classes, image-text model and concepts, and finds every mistake.

    Args:
        params: all of them.
        root: the repository.
    """
    found = Findings()
    lacking = dict(_missing(params, root))
    found.mistakes += [*lacking.values(), *own_mistakes(params, root)]
    with found.attempt():
        _check_machine(params)
    raw = None
    if "data.input" not in lacking:
        with found.attempt():
            raw = look_at(params.data, root / params.data.input, sample=SAMPLE if _given(params) else 0)
            found.said += [f"images: {line}" for line in raw.said]
    if raw:
        with found.attempt():
            _check_every_class(raw)
        with found.attempt():
            found.said += _tried_concepts(params, root, raw)
        with found.attempt():
            check_probe(params, raw, root)
        with found.attempt():
            found.said += power_in_words(params, raw, root)
        if "network.input" not in lacking:
            with found.attempt():
                _try_network(params, root, raw, found)
    if "clip.input" not in lacking:
        with found.attempt():
            found.said += _tried_clip(params, root, raw)
    with found.attempt():
        if words := contract_in_words(params, Layout(params.name, root)):
            found.said.append(f"contract: {words}")
    return found


def _given(params: Params) -> bool:
    """Whether the network has its weights already."""
    return params.network.source == "weights"


def _missing(params: Params, root: Path) -> Iterator[tuple[str, str]]:
    """Key and mistake for each input that is not there."""
    program = params.network.architecture.endswith(".pt2")
    wanted = {
        "data.input": (params.data.input, params.data.source != "synthetic"),
        "annotate.input": (params.annotate.input, params.annotate.source in ("landmarks", "file")),
        "network.file": (params.network.file, False),
        "network.input": (params.network.input, _given(params) and not program),
        "clip.input": (params.clip.input, params.clip.source == "checkpoint"),
    }
    for key, (name, needed) in wanted.items():
        if not (root / name).exists():
            yield key, f"params: {key} is {name}, which is not there; bring it with: emobench use {params.name} ..."
        elif needed and name == NONE:
            yield key, f"params: {key} is {NONE}, but this benchmark needs a file there"


def _check_machine(params: Params) -> None:
    """Whether this machine has the device and the precisions that params name."""
    from emobench.device import pick_device, pick_precision

    device, asked = pick_device(params.device), set()
    if params.network.source == "train":
        asked.add(params.network.train.precision)
    if params.clip.source == "train":
        asked.add(params.clip.training.precision)
    for precision in sorted(asked):
        pick_precision(precision, device)


def _check_every_class(raw: RawImages) -> None:
    """Every stated class has a picture, where all names were read."""
    lacking = [name for place, name in enumerate(raw.classes) if place not in raw.labels]
    if lacking and raw.counts:
        raise UserError(
            f"no picture of class {', '.join(lacking)} in the images; expected at least one, or other classes"
        )


def _try_network(params: Params, root: Path, raw: RawImages, found: Findings) -> None:
    """Builds the network with its weights, asks it for some images, and looks for the layers that params name."""
    from emobench.networks.asked import asked_network

    network = asked_network(params.network, raw.classes, seed=params.seed, root=root)
    found.said += network_in_words(network.card, "given weights" if _given(params) else "trained here")
    for check in (_check_edited, _check_joint):
        with found.attempt():
            check(params, network)
    taken = network.card.input
    side, channels = raw.images.shape[1], 1 if raw.images.ndim == 3 else 3
    if side < min(taken.size):
        stored = picture_in_words(channels, [side] * 2)
        found.said.append(f"pictures: stored as {stored}, enlarged to {taken.size[0]}x{taken.size[1]} for the network")
    with found.attempt():
        _try_images(params, raw, network, found)


def _try_images(params: Params, raw: RawImages, network: Network, found: Findings) -> None:
    """One batch, and with given weights the accuracy on a sample and the class order trap."""
    import torch

    from emobench.faces.class_order import check_class_order

    rows, split = _sample(raw) if _given(params) else (np.arange(min(len(raw.images), 8)), "")
    logits = network.logits(raw.images, rows)
    if not torch.isfinite(logits).all():
        raise UserError("the network's logits are not all finite; expected numbers: look at its weights and its input")
    if not _given(params):
        return
    labels = torch.from_numpy(raw.labels[rows])
    right = int((logits.argmax(1) == labels).sum())
    share = right / len(rows)
    what = {"val": "val images", "": "images (none is val before the stage prepare)"}.get(split, f"{split} images")
    found.said.append(f"accuracy: {right} of {len(rows)} {what} are right, {share:.1%}")
    found.figures |= {"accuracy": share, "accuracy_images": len(rows)}
    check_class_order(logits, labels, network.classes)


def _sample(raw: RawImages) -> tuple[np.ndarray, str]:
    """Rows of the sample, and the split that they are of."""
    split = next(name for name in SPLITS if name in raw.splits)
    rows = [row for row, name in enumerate(raw.splits) if name == split]
    return np.array(rows[-SAMPLE:]), split


def _check_edited(params: Params, network: Network) -> None:
    names = [layer.name for layer in network.card.editable]
    if params.edit.layer not in ("auto", *names):
        raise unknown_layer("edit.layer", params.edit.layer, names)


def _check_joint(params: Params, network: Network) -> None:
    names = [layer.name for layer in network.card.editable]
    for layer in params.edit.search.joint_layers(names):
        if layer not in names:
            raise unknown_layer("edit.search.joint", layer, names)


def unknown_layer(key: str, layer: str, names: list[str]) -> UserError:
    """The error that names the layers whose names are nearest."""
    near = difflib.get_close_matches(layer, names, 5, 0.3) or names[-5:]
    more = [f"and {len(names) - len(near)} more (emobench layers)"] if len(names) > len(near) else []
    return unknown_name(f"params: {key}:", layer, [*near, *more])


def _tried_concepts(params: Params, root: Path, raw: RawImages) -> list[str]:
    """Reads the concept sets against the data's classes, and tells whether the image-text model can rank them."""
    names = [str(root / name) if is_file(name) else name for name in params.concept_sets]
    vocabulary = vocabulary_of(names, raw.classes)
    said = []
    there = replace(params.annotate, input=str(root / params.annotate.input))
    if there.source == "file" and Path(there.input).is_file():
        said.append(f"annotations: {look_at_table(Path(there.input), vocabulary)}")
    taught = {*raw.classes, *annotated(there)} if params.clip.source == "train" else None
    for name in params.concept_sets:
        concepts = vocabulary.concepts(set_label(name))
        known = [concept for concept in concepts if taught is None or concept in taught]
        if len(known) < FEWEST:
            raise UserError(
                f"concept set {name}: the CLIP trained here will know {len(known)} of its {len(concepts)} concepts; "
                f"expected at least {FEWEST}: annotate them, drop the set, or give a CLIP (emobench use ... --clip)"
            )
        if set_label(name) == params.edit.concept_set:
            check_concepts_of_edits(params, vocabulary)
        speak = sum(bool(classes) for classes in vocabulary.speaks(set_label(name)).values())
        said.append(f"concepts: {name} has {len(concepts)}, of which {speak} speak for a class")
    return said


def _tried_clip(params: Params, root: Path, raw: RawImages | None) -> list[str]:
    """Loads a given image-text model, and embeds the pictures of one batch with it."""
    clip = params.clip
    if clip.source == "pretrained" and not clip.allow_hub:
        raise UserError("params: clip.source is pretrained, which loads weights from a hub; set clip.allow_hub: true")
    if clip.source != "checkpoint":
        return []
    from emobench.concepts.clip_files import from_checkpoint

    model = from_checkpoint(clip, "cpu", root)
    if raw:
        vectors = model.embed_images(raw.images[:8], 8)
        if not np.isfinite(vectors).all():
            raise UserError(f"{clip.input}: its image vectors are not all finite")
    return [f"clip: {model.origin.name} loads and embeds"]
