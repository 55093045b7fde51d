"""params.yaml as settings: read strictly, then checked for what no single key shows."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from emobench.errors import UserError, unknown_name
from emobench.own_code import short_name
from emobench.schema import Int, Mistakes, Str, parse, settings, within
from emobench.settings.concepts import Clip
from emobench.settings.data import Annotate, Data
from emobench.settings.dissect import Dissect
from emobench.settings.edit import ARM_NAMES, Edit
from emobench.settings.network import Device, Network, Record, file_of
from emobench.settings.results import Compare, Report, Track
from emobench.vocabulary import check_set_names, set_label

MOST = 10**6
"""Bytes of a params.yaml."""
TAKEN = ("raw", "reference", "growth", "planted", "study", "causal", "gain", "faults")
"""Names of folders in data/ and reports/ that are no benchmark's."""
OTHER_ARMS = ("baseline", "paper", "random", "decile", "uniform", "inverse", "temperature")
"""What ``arm`` is in tables of configurations that no arm made."""
LEAST_STD = 1e-6
"""Below it, what divides by it is infinite in single precision, or nearly."""
_QUOTED = re.compile(r"""'[^'\n]*'|"(?:\\.|[^"\\\n])*"|#.*""")
_LEADING_ZERO = re.compile(r"(?::\s+|[,\[]\s*|^\s*-\s+)([-+]?0\d[\d_]*)\s*(?=[,\]}]|$)")
NONE = "data/raw/none"
"""Stands for no file: DVC wants a path, and this one is always there."""


@settings
class Params:
    """All of params.yaml.

    Attributes:
        name: of the benchmark: part of every path and run name.
        seed: of everything that is drawn: weights, splits, resamples, controls.
        device: where networks run; ``auto`` takes a GPU where there is one.
        data: the images.
        annotate: what is measured of the concepts on each image.
        network: the network that is dissected and edited.
        clip: the image-text model that scores concepts on images.
        record: how activations are recorded.
        concept_sets: ``emotions``, ``expressions`` or files in concepts/; units are described by each of them.
        dissect: how units are described.
        edit: which edits are tried.
        compare: how they are held against the baseline.
        report: how much the page shows.
        track: what MLflow gets.
    """

    name: Str
    seed: Annotated[Int, within(0, 2**62)]
    device: Device
    data: Data
    annotate: Annotate
    network: Network
    clip: Clip
    record: Record
    concept_sets: list[Str]
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
    path = Path(path)
    return read_params(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a params.yaml. Raises UserError where there is none, or what is there is no text."""
    if not path.exists():
        raise UserError(f"no {path} here; run this in the benchmark's folder, or write one: emobench use demo")
    if not path.is_file() or path.stat().st_size > MOST:
        raise UserError(f"{path} is no text file of at most {MOST:,} bytes; expected a benchmark's params")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise not_yaml(path, error) from None


def not_yaml(where: object, error: Exception) -> UserError:
    """The error for a text that YAML's reader refuses, without the advice to let it pass."""
    reason = str(error).partition("To suppress this check")[0]
    return UserError(f"{where} is not valid YAML: {' '.join(reason.split())[:300]}")


def read_params(text: str, where: str) -> Params:
    """The same of a text, which messages call ``where``."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        # YAML 1.2, as DVC writes it: 1e-05 is a number there, a text in YAML 1.1.
        values = YAML(typ="safe", pure=True).load(text)
    # RecursionError: nested too deep; the others: what ruamel meets in values such as 2026-99-99.
    except (YAMLError, RecursionError, ValueError, AttributeError, TypeError, LookupError) as error:
        raise not_yaml(where, error) from None
    for number, line in enumerate(text.splitlines(), 1):
        if octal := _LEADING_ZERO.search(_QUOTED.sub(lambda found: "" if found[0][0] == "#" else "''", line)):
            raise UserError(
                f"{where}, line {number}: {line.strip()[:80]!r} has {octal[1]}, which some readers of YAML take for an "
                "octal number; expected numbers without leading zeros"
            )
    params = parse(Params, values)
    _check_together(params)
    return params


def _check_together(params: Params) -> None:
    """Checks what no single key shows. Raises Mistakes with all that is found, UserError if it is one."""
    lines = []
    checks = (_check_name, _check_prompts, _check_colours, _check_paths, _check_sets, _check_network, _check_edit)
    for check in (*checks, _check_joint):
        try:
            check(params)
        except UserError as error:
            lines.append(str(error))
    if len(lines) > 1:
        raise Mistakes([line.removeprefix("params: ") for line in lines])
    if lines:
        raise UserError(lines[0])


def _check_name(params: Params) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,99}", params.name) or params.name in TAKEN:
        raise UserError(
            f"params: name is {params.name[:120]!r}; expected small letters, digits, '_' and '-', 100 at most, and not "
            f"{' or '.join(TAKEN)}"
        )


def _check_prompts(params: Params) -> None:
    if not params.clip.prompts or not all("{}" in prompt for prompt in params.clip.prompts):
        raise UserError(f"params: clip.prompts is {params.clip.prompts}; expected at least one, each with {{}} in it")


def _check_colours(params: Params) -> None:
    """Mean and std of the image-text model's colours: three each, or none where its own files may say them."""
    clip = params.clip
    if clip.source == "pretrained":
        return
    known = (3,) if clip.source == "train" else (0, 3)
    for key, values in {"image_mean": clip.image_mean, "image_std": clip.image_std}.items():
        if len(values) not in known or (key == "image_std" and min(values, default=1) < LEAST_STD):
            raise UserError(f"params: clip.{key} is {values}; expected three numbers, one a colour, std above 0")


def _check_sets(params: Params) -> None:
    """Concept sets and score functions; those that the edits follow are among them."""
    check_set_names(params.concept_sets)
    labels = [set_label(name) for name in params.concept_sets]
    if params.edit.concept_set not in labels:
        raise unknown_name("params: edit.concept_set", params.edit.concept_set, labels)
    functions = _check_own("dissect", "similarity_fns", params.dissect.similarity_fns, params.dissect.file)
    if params.edit.similarity_fn not in functions:
        raise unknown_name("params: edit.similarity_fn", params.edit.similarity_fn, functions)
    if params.dissect.soft_wpmi.p_end > params.dissect.soft_wpmi.p_start:
        raise UserError("params: dissect.soft_wpmi.p_end is above p_start; expected p_start >= p_end")


def _check_paths(params: Params) -> None:
    """No path is one that no file system can have."""
    sections = {"data": params.data, "annotate": params.annotate, "network": params.network, "clip": params.clip}
    paths = {f"{name}.input": section.input for name, section in sections.items()}
    paths |= {f"{name}.file": getattr(params, name).file for name in ("network", "dissect", "edit")}
    for key, path in paths.items():
        if not path or "\0" in path or any(len(part.encode()) > 255 for part in path.split("/")) or len(path) > 4000:
            raise UserError(f"params: {key} is {path[:80]!r}; expected a path, each part of 255 bytes at most")


def _check_own(section: str, key: str, named: Sequence[str], file: str, taken: Sequence[str] = ()) -> list[str]:
    """The short names of choices of which some may be FILE.py:FUNCTION: one FILE, which DVC watches, each name once."""
    own = [text for text in named if file_of(text)[0]]
    files, names = {file_of(text)[0] for text in own} or {NONE}, [short_name(text) for text in named]
    if files != {file}:
        raise UserError(f"params: {section}.file is {file}, {section}.{key} names {', '.join(sorted(files))}; expected "
                        "the same, one file for all of them")  # fmt: skip
    twice = [name for name in names if names.count(name) > 1]
    clash = [short_name(text) for text in own if short_name(text) in taken or short_name(text).startswith("search_")]
    if clash or (own and twice):
        name = (clash or twice)[0]
        raise UserError(f"params: {section}.{key} has a function called {name}, but that name is taken; rename it")
    return names


def _check_network(params: Params) -> None:
    """A file that the architecture names is the one that DVC watches; a picture fits its channels."""
    network = params.network
    architecture = network.architecture
    needed = file_of(architecture)[0] or NONE
    if network.file != needed:
        raise UserError(f"params: network.file is {network.file}, architecture is {architecture}; expected {needed}")
    if network.picture == "auto":
        return
    picture = network.picture
    lengths = {"size": (2,), "range": (2,), "mean": (0, picture.channels), "std": (0, picture.channels)}
    for name, known in lengths.items():
        if len(getattr(picture, name)) not in known:
            raise UserError(
                f"params: network.picture.{name} is {getattr(picture, name)}; expected {' or '.join(map(str, known))} "
                "numbers"
            )
    if min(picture.std, default=1) < LEAST_STD:
        raise UserError(f"params: network.picture.std is {picture.std}, which divides; expected each above 0")


def _check_edit(params: Params) -> None:
    """An edit needs something to try, and no 0 where the other rows are divided by the factor."""
    edit = params.edit
    _check_own("edit", "arms", edit.arms, edit.file, OTHER_ARMS + ARM_NAMES)
    for name in ("taus", "factors", "operations"):
        if not getattr(edit, name):
            raise UserError(f"params: edit.{name} is empty; expected at least one value")
    dividing = {"factors": ("similarity", "weight_norm"), "divided_factors": ("fdr", "accuracy", "faithfulness")}
    for name, arms in dividing.items():
        arm = next((arm for arm in arms if arm in edit.arms), None)
        if arm is not None and 0 in getattr(edit, name):
            raise UserError(f"params: edit.{name} has a 0, but arm {arm} divides the other rows by it; expected > 0")
    if edit.paper.factor == 0 and "similarity" in edit.arms:
        raise UserError("params: edit.paper.factor is 0, but the other rows are divided by it; expected > 0")


def _check_joint(params: Params) -> None:
    """A search needs something to try, joint layers are several, and who was not trained here has no augmentation."""
    search = params.edit.search
    if (search.kinds or search.joint) and (not search.penalties or not search.exponents or 0 in search.exponents):
        raise UserError("params: edit.search.penalties and exponents need at least one value each, no exponent of 0")
    if search.joint != "all" and (len(set(search.joint)) < len(search.joint) or len(search.joint) == 1):
        raise UserError(f"params: edit.search.joint is {search.joint}; expected no layer, or at least two, each once")
    if search.augment and params.network.source != "train":
        raise UserError("params: edit.search.augment is true, but how given weights were trained is not known; "
                        "expected false, or network.source train")  # fmt: skip
