"""What a user gave to ``emobench use`` beside the preset, and the preset it is written into."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emobench.errors import UserError, unknown_name
from emobench.inputs.extending import extended
from emobench.params import Params, not_yaml, read_params, read_text
from emobench.settings.network import file_of

PRESETS = Path(__file__).parents[1] / "presets"
OWN = "folder"
"""The preset of the user's own data; these sources differ from it in ``data.source`` alone:"""
LIKE_OWN = ("jaffe", "kdef", "rafdb", "table")


@dataclass(frozen=True)
class Given:
    """The user's own files and wishes; what is empty or None was not given.

    Attributes:
        archive: images, in a form that ``data.source`` reads.
        weights: of the network to dissect; without, it is trained here.
        annotations: a landmark model (``.task``) or a table of measured concepts (``.csv``, ``.parquet``).
        clip: an image-text model: weights, OpenAI's archive, or a folder as on the model hub.
        clip_model: open_clip's name for it, where the file doesn't say.
        concepts: files of concepts, ``.txt`` or ``.csv``.
        network: an architecture, as in params network.architecture.
        options: for its builder.
        picture: what differs from what the architecture takes by itself.
        classes: names of the network's outputs, in their order; of numbered labels too.
        output: which of several outputs holds the logits.
        layers: globs of the layers to record.
        size: side of the stored pictures.
        channels: of the stored pictures.
        name: of the benchmark.
        sha256: of a ``.pt2`` file that the user trusts.
        trust: the user trusts the ``.pt2`` file whatever its sha256.
    """

    archive: Path | None = None
    weights: Path | None = None
    annotations: Path | None = None
    clip: Path | None = None
    clip_model: str = ""
    concepts: Sequence[Path] = ()
    network: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    picture: Mapping[str, Any] = field(default_factory=dict)
    classes: Sequence[str] = ()
    output: str = ""
    layers: Sequence[str] = ()
    size: int | None = None
    channels: int | None = None
    name: str = ""
    sha256: str = ""
    trust: bool = False


def preset_names() -> list[str]:
    """The built-in presets."""
    return sorted([*LIKE_OWN, *(path.stem for path in PRESETS.glob("*.yaml"))])


def preset_values(preset: str) -> Any:
    """The values of a built-in preset, or of a file by its path, with their comments.

    A file is a complete params.yaml, or names another preset in ``extends`` and only what differs from it.

    Raises:
        UserError: there is none, or it is not complete.
    """
    source = Path(preset) if preset.endswith((".yaml", ".yml")) else PRESETS / f"{preset}.yaml"
    if preset in LIKE_OWN:
        source = PRESETS / f"{OWN}.yaml"
    if not source.is_file():
        raise unknown_name("preset", preset, [*preset_names(), "or a .yaml file"])
    values = extended(source, _read, PRESETS)
    try:
        read_params(as_text(values), str(source))
    except UserError as error:
        raise UserError(f"{source}: {str(error).removeprefix('params: ').removeprefix(f'{source}: ')}") from None
    if preset in LIKE_OWN:
        values["data"]["source"] = preset
    return values


def _read(path: Path) -> Any:
    """The values of a preset's file. Raises UserError where it is no YAML."""
    from ruamel.yaml.error import YAMLError

    # Told as of any params.yaml: what is no text, or too large.
    text = read_text(path)
    try:
        return _yaml().load(text)
    except (YAMLError, RecursionError, ValueError, AttributeError, TypeError, LookupError) as error:
        raise not_yaml(path, error) from None


def benchmark_name(preset: str, preset_name: str, given: Given) -> str:
    """What the results are filed under: as asked, by the images of one's own, or by the preset and its network."""
    if given.name:
        return given.name
    if preset in (OWN, *LIKE_OWN):
        if not given.archive:
            raise UserError(f"preset {preset!r} needs images: emobench use {preset} --archive FILE_OR_FOLDER")
        own = _slug(given.archive.stem if given.archive.is_file() else given.archive.resolve().name) or "faces"
        return f"{own}-faces" if own in preset_names() else own
    return f"{preset_name}-{_slug(_short(given.network))}" if given.network else preset_name


def as_text(values: Any) -> str:
    """The values as YAML."""
    file = io.StringIO()
    _yaml().dump(values, file)
    return file.getvalue()


def as_params(values: Any) -> Params:
    """The values as params. Raises UserError where one is wrong."""
    return read_params(as_text(values), "params.yaml")


def flow(values: Sequence[Any]) -> Any:
    """A list that is written in one line."""
    from ruamel.yaml.comments import CommentedSeq

    written = CommentedSeq(values)
    written.fa.set_flow_style()
    return written


def _short(architecture: str) -> str:
    """The name at the end of an architecture: resnet18 of timm/resnet18, net of net.py:build."""
    return file_of(architecture)[1] or Path(architecture).stem


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-_")


def _yaml() -> Any:
    """A reader and writer that keeps comments and quotes."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 4096, True
    return yaml
