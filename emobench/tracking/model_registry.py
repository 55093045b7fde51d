"""The networks worth keeping, in the model registry of the store: the baseline, and the best edit if it improves.

A registered model has the benchmark's name. Each version has the network (see ``packed``), the code that runs it, and
a model card. It is known by the tag ``content``, a digest of all of them: none is made twice, a lost one is made again.
Only MlflowClient is used: the tracking URI and the active run of whoever calls stay as they are.
"""

import dataclasses
import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from emobench.edits.family import SEARCH
from emobench.errors import UserError
from emobench.files import file_digest
from emobench.networks.sources import WEIGHTS, load_network
from emobench.reporting.results import Results
from emobench.tracking.model_card import model_card
from emobench.tracking.packed import pack
from emobench.tracking.tracker import MlflowClient, MlflowException

with warnings.catch_warnings():
    # On import MLflow warns of type hints of its own. It comes last: mlflow_log says how it shall be imported.
    warnings.simplefilter("ignore")
    import mlflow.pyfunc
    from mlflow.entities import LoggedModel, LoggedModelOutput
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from emobench.tracking import served_model

REQUIREMENTS = ("mlflow", "numpy", "safetensors", "torch")
BUILDERS = ("timm", "torchvision")
"""Packages that a network needs if its architecture, or the file that it names, names them."""
LINKS = "mlflow.modelVersions"
"""The tag of a logged model by which MLflow's UI finds the registered versions."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network for the registry: the key of its run, its aliases, its folder, its card in Markdown, its tags.

    ``example``: black pictures (1, height, width) or (1, height, width, 3) uint8 as the data have them: nobody's face.
    """

    key: str
    aliases: tuple[str, ...]
    network: Path
    card: str
    tags: dict[str, str]
    example: np.ndarray
    classes: int


def improving_edit(results: Results) -> str | None:
    """The edit whose verdict on test is ``improves``: the chosen one, else the one with the best accuracy there."""
    rows = results.verdicts
    rows = rows[(rows["images"] == "test") & (rows["verdict"] == "improves")]
    names = list(rows.sort_values("accuracy", ascending=False, kind="stable")["config_id"])
    if results.chosen_id in names:
        return results.chosen_id
    return names[0] if names else None


def entries(results: Results, folder: Path) -> list[Entry]:
    """What belongs into the registry: the baseline, and an edit that improves on it. The champion is the better one.

    Args:
        results: the benchmark.
        folder: where weights may be written that the stages before don't keep.

    Raises:
        UserError: weights are missing, or an edit can't be rebuilt.
    """
    aliases = {results.baseline_id: ["baseline"]}
    aliases.setdefault(improving_edit(results) or results.baseline_id, []).append("champion")
    return [_entry(results, config_id, tuple(names), folder) for config_id, names in aliases.items()]


def _entry(results: Results, config_id: str, aliases: tuple[str, ...], folder: Path) -> Entry:
    kind = "baseline" if config_id == results.baseline_id else "edit"
    card, network = model_card(results, config_id), folder / kind
    pack(results.layout.models / "network", _weights(results, config_id, folder), network)
    example = _tried(results, network)
    # Trying it may have compiled a user's file.
    shutil.rmtree(network / "__pycache__", ignore_errors=True)
    files = {path.name: file_digest(path) for path in sorted(network.iterdir())}
    content = hashlib.sha256(json.dumps([config_id, files, card]).encode()).hexdigest()
    tags = {"content": content, "kind": kind, "config_id": config_id, "weights_sha256": files[WEIGHTS]}
    tags["architecture"] = results.network.architecture
    if kind == "edit":
        tags |= {"layer": results.config(config_id)["layer"], "verdict": "improves"}
    return Entry(f"{kind}/{config_id}", aliases, network, card, tags, example, len(results.classes))


def _tried(results: Results, network: Path) -> np.ndarray:
    """Loads what is to be registered and asks it about a black picture, which is returned: nobody's face.

    Raises:
        UserError: it can't be loaded, or answers with something else than numbers.
    """
    side, channels = results.card.size, results.card.channels
    example = np.zeros((1, side, side) if channels == 1 else (1, side, side, channels), np.uint8)
    logits = load_network(network).logits(example)
    if logits.shape != (1, len(results.classes)) or not bool(logits.isfinite().all()):
        raise UserError(f"{network.name}: its answers are {tuple(logits.shape)}, or not finite; it is not registered")
    return example


def _weights(results: Results, config_id: str, folder: Path) -> Path:
    """The weights of the baseline and of the chosen edit are kept; any other edit is rebuilt, and checked."""
    models = results.layout.models
    if config_id == results.baseline_id:
        path, stage = models / "network" / WEIGHTS, "network"
    elif config_id == results.chosen_id and not results.config(config_id)["arm"].startswith(SEARCH):
        path, stage = models / "edited.safetensors", "edit"
    else:
        path, stage = folder / "edited.safetensors", "edit"
        from emobench.edits.exporting import export_network

        export_network(results.params, results.layout, config_id, path)
    if not path.is_file():
        raise UserError(f"no {path}; run the stage {stage!r} first (dvc repro {stage})")
    return path


def register(
    client: MlflowClient, experiment: str, name: str, wanted: Sequence[Entry], runs: Mapping[str, str]
) -> dict[str, str]:
    """Makes the versions that the registry lacks and lets the aliases point to the wanted ones.

    Args:
        client: of the store.
        experiment: id of the experiment in which the models are logged.
        name: of the registered model.
        wanted: what belongs there.
        runs: key -> id of the runs that the versions belong to.

    Returns:
        alias -> version.
    """
    aliases = _aliases(client, name)
    versions = client.search_model_versions(f"name = '{name}'")
    known = {made.tags.get("content"): str(made.version) for made in versions}
    held = {}
    for entry in wanted:
        number = known.get(entry.tags["content"]) or _new_version(client, experiment, name, entry, runs[entry.key])
        for alias in entry.aliases:
            if aliases.get(alias) != number:
                client.set_registered_model_alias(name, alias, number)
            held[alias] = number
    return held


def _aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """The aliases of a registered model, which is made if it doesn't exist."""
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        text = f"Networks of the benchmark {name}. Each version has a model card; research on interpretability only."
        model = client.create_registered_model(name, description=text)
    return {alias: str(number) for alias, number in model.aliases.items()}


def _new_version(client: MlflowClient, experiment: str, name: str, entry: Entry, run_id: str) -> str:
    model = _logged_model(client, experiment, entry, run_id)
    # The place, not models:/<id>: MLflow would look that up in the store that happens to be current.
    made = client.create_model_version(
        name, model.artifact_location, run_id, entry.tags, description=entry.card, model_id=model.model_id
    )
    links = json.dumps([{"name": name, "version": str(made.version)}])
    client.set_logged_model_tags(model.model_id, {LINKS: links})
    return str(made.version)


def _logged_model(client: MlflowClient, experiment: str, entry: Entry, run_id: str) -> LoggedModel:
    """The network among the experiment's models. One whose files may be incomplete gets them again."""
    query = f"tags.content = '{entry.tags['content']}'"
    found: list[Any] = client.search_logged_models([experiment], query)
    model = next((logged for logged in found if logged.source_run_id == run_id), None)
    if model is None:
        model = client.create_logged_model(experiment, entry.key.partition("/")[0], run_id, entry.tags)
    if str(model.status) != "READY":
        with tempfile.TemporaryDirectory() as folder:
            save_model(entry, Path(folder) / "model")
            client.log_model_artifacts(model.model_id, f"{folder}/model")
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
        model = client.finalize_logged_model(model.model_id, "READY")
    return model


def save_model(entry: Entry, folder: Path) -> None:
    """Writes a network as an MLflow model: code, network, signature, an example and the packages that it needs."""
    pictures = TensorSpec(entry.example.dtype, (-1, *entry.example.shape[1:]))
    probabilities = TensorSpec(np.dtype(np.float32), (-1, entry.classes))
    mlflow.pyfunc.save_model(
        folder,
        python_model=served_model.__file__,
        artifacts={"network": str(entry.network.resolve())},
        signature=ModelSignature(Schema([pictures]), Schema([probabilities])),
        input_example=entry.example,
        # Given, not inferred: MLflow would load the model in a new process to see what it imports.
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _requirements(entry)],
    )


def _requirements(entry: Entry) -> list[str]:
    """The packages that a network needs, beside emobench."""
    words = entry.tags["architecture"]
    words += "".join(path.read_text(encoding="utf-8") for path in sorted(entry.network.glob("*.py")))
    return [*REQUIREMENTS, *(name for name in BUILDERS if name in words)]
