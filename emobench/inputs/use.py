"""From a preset and the user's files to params.yaml: all is looked at first, then files are brought."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from emobench.errors import UserError
from emobench.faces.raw import RawImages
from emobench.faces.sources import look_at
from emobench.files import replacing
from emobench.inputs import bring
from emobench.inputs.concepts import own_sets, write_annotations, write_clip, write_sets
from emobench.inputs.fitting import fit_numbers, fit_stored, splits_in_words
from emobench.inputs.former import former_params, keep_options
from emobench.inputs.given import LIKE_OWN, OWN, Given, as_params, as_text, benchmark_name, flow, preset_values
from emobench.inputs.keeping import keep, note
from emobench.inputs.network import OwnFile, fit_layers, network_in_words, picture_in_words, tried, write_network
from emobench.networks.card import NetworkCard
from emobench.params import NONE, read_params
from emobench.vocabulary.class_names import UnnamedClasses

KINDS = ("archive", "weights", "annotations", "clip")
"""What goes under DVC."""


def use_preset(preset: str, root: Path, *, force: bool = False, **given: Any) -> list[str]:
    """Writes params.yaml from a preset and puts the inputs that were given under DVC, below data/raw.

    Inputs given to an earlier call for the same benchmark are found again, and options of the same network stay; what
    else the params.yaml before had of the network is named, not kept. Everything is looked at before anything is
    replaced: names and some pictures, the network with its weights, the concepts and the classes they speak for.

    Args:
        preset: a built-in preset's name, or the path of a complete params.yaml.
        root: the repository.
        force: a params.yaml that was edited may be replaced; a copy of it is kept.
        given: the user's files and wishes, see :class:`emobench.inputs.given.Given`.

    Returns:
        Lines that tell the user what was done and what was assumed.

    Raises:
        UserError: an unknown preset, an input that is missing, not wanted or not of a known form, or what doesn't fit;
            or a params.yaml that was edited, without ``force``.
    """
    work = _Work(preset, root, Given(**given))
    said = [*work.data(), *work.network(), *work.concepts()]
    as_params(work.values)
    work.place()
    text = as_text(work.values)
    said += keep(root, text, force=force)
    said += work.brought()
    with replacing(root / "params.yaml") as temporary:
        temporary.write_text(text, encoding="utf-8")
        read_params(text, "params.yaml")
    note(root, text)
    bring.show_lock(root)
    name = work.values["name"]
    return [f"params.yaml: preset {preset!r}, benchmark {name!r}", *said, "next: emobench validate, then dvc repro"]


class _Work:
    """One call: the values that become params.yaml, the files, and what is known of them so far."""

    def __init__(self, preset: str, root: Path, given: Given) -> None:
        self.preset, self.root = preset, root
        self.values = preset_values(preset)
        former = self.values["name"]
        self.values["name"] = name = benchmark_name(preset, former, given)
        for path in (given.weights, given.annotations, given.clip, *given.concepts):
            bring.there(path) if path else None
        # Images and what is measured on them are the preset's, whatever the network.
        stems = {kind: [name, former] if kind in ("archive", "annotations", "clip") else [name] for kind in KINDS}
        found = {
            kind: None if getattr(given, kind) else bring.earlier(root, *(f"{stem}-{kind}" for stem in stems[kind]))
            for kind in KINDS
        }
        self.earlier = {kind: path for kind, path in found.items() if path}
        # Another network than that of the earlier weights must not get them.
        if given.network or preset in (OWN, *LIKE_OWN):
            self.earlier.pop("weights", None)
        earlier: dict[str, Any] = {kind: root / path for kind, path in self.earlier.items()}
        self.given = replace(given, **earlier)
        self.raw: RawImages
        self.own: OwnFile | None = None
        self.sets: dict[str, Path] = {}

    def data(self) -> list[str]:
        """Looks at the images; numbered labels are named by the classes that were given."""
        section, given = self.values["data"], self.given
        if section["source"] == "synthetic":
            if given.archive:
                raise UserError(f"preset {self.preset!r} draws its own images; it takes no --archive")
            self.raw = look_at(as_params(self.values).data, Path())
            return []
        if not given.archive:
            raise UserError(
                f"preset {self.preset!r} needs images: emobench use {self.preset} --archive FILE (a zip, a csv or a "
                "folder)"
            )
        bring.there(given.archive)
        try:
            self.raw = look_at(as_params(self.values).data, given.archive)
        except UnnamedClasses:
            if not given.classes:
                raise
            section["classes"] = flow(given.classes)
            self.raw = look_at(as_params(self.values).data, given.archive)
        said = list(self.raw.said)
        if self.preset in (OWN, *LIKE_OWN):
            said.append(f"classes: {', '.join(self.raw.classes)}")
            said.append(splits_in_words(self.raw.counts, self.values["seed"]))
        return said

    def network(self) -> list[str]:
        """Builds the network, and fits what depends on it: stored pictures, layers, numbers of top images."""
        given, values, own_data = self.given, self.values, self.preset in (OWN, *LIKE_OWN)
        self.own = write_network(values, given, self.root)
        said = keep_options(values["network"], given, former_params(self.root, values["name"]))
        asked = bool(own_data or given.network or given.options or given.picture or given.layers)
        if not asked and not given.weights:
            return [*said, *self._stored(None)]
        card = tried(values, given, self.own, self.raw.classes, self.root)
        said += network_in_words(card, self._weights_in_words(card))
        said += self._stored(card if asked else None)
        said += fit_layers(values, card)
        if own_data:
            said += fit_numbers(values["dissect"], self.raw)
        if asked and values["edit"]["layer"] == "auto":
            said.append("edit.layer: auto, the layer with the most units above dissect.tau; emobench layers lists all")
        return said

    def _weights_in_words(self, card: NetworkCard) -> str:
        if self.values["network"]["source"] == "train":
            return "trained here"
        names = ", ".join(card.outputs or card.classes)
        if self.given.classes:
            return f"its outputs are {names}"
        return f"its outputs are ASSUMED to be {names}; say otherwise with --classes"

    def _stored(self, card: NetworkCard | None) -> list[str]:
        """Sets the stored size: as asked, or what the network takes of what the pictures have; None: the preset's."""
        section, given = self.values["data"], self.given
        if section["source"] == "synthetic":
            return []
        said = [fit_stored(section, given.archive, card.input)] if card and given.archive else []
        own = {name: getattr(given, name) for name in ("size", "channels") if getattr(given, name)}
        section |= own
        stored = picture_in_words(section["channels"], [section["size"]] * 2)
        return [f"stored: {stored}, as asked"] if own else said

    def concepts(self) -> list[str]:
        """Writes the sources of annotations and of the image-text model, and the concept sets."""
        given, values = self.given, self.values
        write_annotations(values["annotate"], str(given.annotations) if given.annotations else None)
        said = write_clip(values["clip"], given.clip, given.clip_model, self.root) if given.clip else []
        self.sets = dict(zip(own_sets(given.concepts), given.concepts, strict=True))
        places = {name: bring.own_place(self.root, Path("concepts"), path) for name, path in self.sets.items()}
        self.sets = {places[name].as_posix(): path for name, path in self.sets.items()}
        said += write_sets(values, self.sets, self.raw.classes, as_params(values).annotate)
        if given.network or self.sets or self.preset in (OWN, *LIKE_OWN):
            chosen = values["edit"]["concept_set"]
            said.append(f"concepts: {', '.join(map(str, values['concept_sets']))}; edits go by {chosen}")
        return said

    def _new(self) -> dict[str, tuple[str, Path]]:
        """The inputs that this call brings: kind -> name in data/raw, and where the file is now."""
        given = {kind: getattr(self.given, kind) for kind in KINDS if kind not in self.earlier}
        return {kind: (f"{self.values['name']}-{kind}", path) for kind, path in given.items() if path}

    def place(self) -> None:
        """Writes where the inputs are or will be."""
        places = {kind: str(path) for kind, path in self.earlier.items()}
        places |= {kind: str(bring.target(stem, path)) for kind, (stem, path) in self._new().items()}
        inputs = {"archive": "data", "weights": "network", "annotations": "annotate", "clip": "clip"}
        for kind, section in inputs.items():
            if kind in places or kind != "weights":
                self.values[section]["input"] = places.get(kind, self.values[section].get("input", NONE))

    def brought(self) -> list[str]:
        """Copies the files."""
        said = [bring.bring(self.root, stem, path) for stem, path in self._new().values()]
        for place, path in [(self.own.place, self.own.path)] if self.own else []:
            said += bring.keep_own(self.root, place, path)
        for name, path in self.sets.items():
            said += bring.keep_own(self.root, Path(name), path)
        return said
