"""Annotations, image-text model and concept sets of params.yaml, and which of the sets that model can rank."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emobench.errors import UserError
from emobench.inputs.given import flow
from emobench.params import NONE
from emobench.schema import parse
from emobench.settings.concepts import GivenClip
from emobench.settings.data import Annotate
from emobench.vocabulary import OWN_FOLDER, SUFFIXES, concept_set, set_label
from emobench.vocabulary.card import vocabulary_of

FEWEST = 2
"""Concepts of a set that the model must know: it ranks them."""
LANDMARKS_HINT = (
    "a MediaPipe face landmarker (face_landmarker.task; pip install 'emobench[landmarks]') or a table of concepts"
)


USUAL = {"image_mean": (0.48145466, 0.4578275, 0.40821073), "image_std": (0.26862954, 0.26130258, 0.27577711)}
"""What CLIPs were trained with, but for SigLIP and its like, whose folders say what they need."""


def write_clip(section: Any, path: Path, model_name: str, root: Path) -> list[str]:
    """Turns section clip into a local checkpoint, and loads it from where it is now.

    What a folder or OpenAI's archive says of itself is left to it; bare weights need the name of their model.

    Raises:
        UserError: it can't be loaded.
    """
    from emobench.concepts.clip_files import from_checkpoint

    for key in ("training", "tag", "allow_hub"):
        section.pop(key, None)
    bare = bool(model_name) and path.is_file()
    section |= {"source": "checkpoint", "model": model_name}
    section |= {key: flow(numbers if bare else []) for key, numbers in USUAL.items()}
    clip = parse(GivenClip, {**section, "input": str(path.resolve()), "prompts": list(section["prompts"])})
    model = from_checkpoint(clip, "cpu", root)
    assumed = "; image_mean and image_std are ASSUMED to be those of OpenAI's" if bare else ""
    return [f"clip: {model.origin.name} from {path}{assumed}"]


def own_sets(files: Sequence[Path]) -> list[str]:
    """How params will name the user's concept files.

    Raises:
        UserError: a file that is none of concepts.
    """
    for path in files:
        if path.suffix.lower() not in SUFFIXES:
            raise UserError(f"--concepts {path}: expected a file that ends in {' or '.join(SUFFIXES)}")
    return [(OWN_FOLDER / path.name).as_posix() for path in files]


def write_sets(values: Any, files: Mapping[str, Path], classes: Sequence[str], annotate: Annotate) -> list[str]:
    """Writes concept_sets and edit.concept_set: of what is there, all that the image-text model can rank.

    Args:
        values: all of params.yaml; changed.
        files: the user's files, by the name that params will have for them.
        classes: the data's.
        annotate: where its annotations are now.

    Returns:
        What was left out, in words.

    Raises:
        UserError: a file that can't be read, or a class in it that the data lack.
    """
    said, wanted = [], [*(name for name in values["concept_sets"] if name not in files), *files]
    vocabulary = vocabulary_of([str(files.get(name, name)) for name in wanted], classes)
    taught = None
    if values["clip"]["source"] == "train":
        taught = {*classes, *annotated(annotate)}
        if annotate.source == "none":
            said.append(
                f"no --annotations: a CLIP trained here then knows the {len(classes)} emotions only. For more give "
                f"{LANDMARKS_HINT}, or a CLIP of your own (--clip)"
            )
    kept = []
    for name in wanted:
        label = set_label(name)
        known = [one for one in vocabulary.concepts(label) if taught is None or one in taught]
        if len(known) >= FEWEST:
            kept.append(name)
        else:
            said.append(
                f"concept set {label} is left out: the CLIP trained here will know {len(known)} of its concepts; "
                "to rank them give --annotations that measure them, or --clip"
            )
    _choose(values, kept, [name for name in kept if name in files])
    return said


def _choose(values: Any, kept: Sequence[str], own: Sequence[str]) -> None:
    """Edits go by the user's first set, by the preset's, or by the last that is left."""
    labels = [set_label(name) for name in kept]
    first = [*map(set_label, own), values["edit"]["concept_set"], *reversed(labels)]
    values["concept_sets"] = flow(kept)
    values["edit"]["concept_set"] = next(label for label in first if label in labels)


def annotated(annotate: Annotate) -> set[str]:
    """The concepts that the annotations speak of.

    Raises:
        UserError: a table that can't be read.
    """
    if annotate.source == "none":
        return set()
    if annotate.source != "file":
        return set(concept_set("expressions"))
    import pandas as pd

    path = Path(annotate.input)
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str, nrows=1)
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is no readable table: {' '.join(str(error).split())[:100]}") from None
    if "image_id" not in table:
        raise UserError(f"{path} has the columns {list(table)[:6]}; expected image_id and at least one concept")
    return {" ".join(str(name).lower().split()) for name in table.columns if name != "image_id"}


def write_annotations(section: Any, path: str | None) -> None:
    """Sets the source of annotations by the file that is given, or none where the preset's source needs one."""
    if path:
        section |= {"source": "landmarks" if path.endswith(".task") else "file", "input": path}
    elif section["source"] in ("landmarks", "file"):
        section |= {"source": "none", "input": NONE}
