"""What users wait for after recording: dissecting, sweeping, controls, logging and a stage's start (see waits)."""

import copy
import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from waits import WIDTH, Part, changed, demo, faces, forward, labels


def dissecting(folder: Path) -> Part:
    """All layers by three functions, with nulls, stability and held-out evidence; against loops that only score."""
    import pandas as pd
    import yardstick
    from small_network import small_vggnet

    from emobench.concepts.scores import concept_scores
    from emobench.dissection.network import Images, dissect_networks
    from emobench.faces.imageset import ImageSet
    from emobench.networks.record_folder import record_folder
    from emobench.networks.vggnet import LAYERS
    from emobench.vocabulary import concept_classes, concept_set
    from emobench.vocabulary.class_names import BASIC

    count, names = 1200, concept_set("expressions")
    index = {"image_id": [str(row) for row in range(count)], "label": labels(count), "status": "kept"}
    index |= {"split": ["train"] * 900 + ["val"] * 300, "duplicate_of": None}
    imageset, rng = ImageSet(faces(count), pd.DataFrame(index)), np.random.default_rng(0)
    seen, said = (
        F.normalize(torch.from_numpy(rng.normal(size=(n, 64)).astype(np.float32))) for n in (count, len(names))
    )
    scored = concept_scores("expressions", seen, said, names, concept_classes(), BASIC)
    images = Images(imageset, seen, [scored], pd.DataFrame(rng.random((count, len(names))), columns=names))
    source = {"images_digest": imageset.digest()}
    network = small_vggnet(WIDTH)
    record_folder(
        folder / "recorded", network, imageset.images, LAYERS, source, pool="avg", tokens="mean", batch_size=256
    )
    settings = changed(demo().dissect, similarity_fns=["soft_wpmi", "wpmi", "cos_similarity"])
    recordings = {"trained": folder / "recorded"}
    layers = [torch.from_numpy(np.load(folder / "recorded" / f"{layer}.npy")[:900]) for layer in LAYERS]

    def plain() -> None:
        for activations, function in itertools.product(layers, ("soft_wpmi", "wpmi", "matrix_product")):
            getattr(yardstick, function)(scored.scores[:900], activations)

    return Part(plain, lambda: dissect_networks(settings, images, LAYERS, recordings, profiled="soft_wpmi", seed=0))


def sweeping(folder: Path) -> Part:
    """Edits of lin2 with two values a unit, like random controls; against copying, editing and running the network."""
    from small_network import new_network

    from emobench.functional.edits import selection_scale
    from emobench.sweeps.sweep import sweep_logits

    network, inputs = new_network(WIDTH, 0.2, 0).eval(), torch.rand(512, 1, 40, 40)
    units, configs = len(network.get_parameter("lin2.weight")), 400
    scale, generator = selection_scale(torch.arange(units) % 16 > 0, 1.5), torch.Generator().manual_seed(0)
    scales = torch.stack([scale[torch.randperm(units, generator=generator)] for _ in range(configs)])
    plain = functools.partial(edited_forward, network, "lin2", scale, inputs)
    return Part(plain, lambda: sweep_logits(network, "lin2", inputs, scales, memory_gib=2.0), configs)


@torch.inference_mode()
def edited_forward(network: torch.nn.Module, layer: str, scale: torch.Tensor, inputs: torch.Tensor) -> None:
    """One configuration the way the published code evaluates it."""
    edited = copy.deepcopy(network)
    edited.get_parameter(f"{layer}.weight").mul_(scale[:, None])
    forward(edited, inputs.split(256))


def controls(folder: Path, *, early: bool) -> Part:
    """All edits of a small benchmark with 200 draws of each random control, stopped early or not.

    With early stopping against the same without, and that against running the edited network once a configuration.
    """
    import pandas as pd
    import pytest
    from edit_bench import small_params, speaks, write_benchmark

    from emobench.edits.experiment import sweep_edits
    from emobench.faces.imageset import load_imageset
    from emobench.networks.sources import load_network

    edit = small_params(draws=200).edit
    if hasattr(edit.controls, "least"):
        most = changed(edit, controls=changed(edit.controls, least=edit.controls.draws))
        edit = changed(edit, controls=changed(edit.controls, least=50))
    elif early:
        pytest.skip("params have no edit.controls.least: controls don't stop early in this version")
    else:
        most = edit
    layout = write_benchmark(folder, train=50, val=400, test=500)
    network, imageset = load_network(layout.models / "network"), load_imageset(layout.data)
    tables = [pd.read_parquet(layout.artifacts / f"{name}.parquet") for name in ("layers", "units")]
    given = (network, imageset, *tables, speaks(layout))
    whole = functools.partial(sweep_edits, most, *given, seed=0)
    if early:
        return Part(whole, lambda: sweep_edits(edit, *given, seed=0))
    found = whole()
    weight = network.model.get_parameter(f"{found.layer}.weight")
    inputs = network.inputs(imageset.images[imageset.rows("val")])
    ones = torch.ones(len(weight), *[1] * (weight.ndim - 2))
    return Part(functools.partial(edited_forward, network.model, found.layer, ones, inputs), whole, found.evaluated)


def logging(folder: Path) -> Part:
    """A benchmark of 120 edits tracked in SQLite; against the same number of runs by MLflow's client, one by one."""
    import log_times
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    count, client = 120, None

    def plain() -> None:
        nonlocal client
        if client is None:
            client = MlflowClient(f"sqlite:///{folder}/plain.db")
            client.create_experiment("plain")
        for number in range(10):
            run = client.create_run("0", run_name=str(number)).info.run_id
            client.log_batch(
                run, [Metric(f"m{i}", float(i), 0, 0) for i in range(40)], [Param(f"p{i}", str(i)) for i in range(20)]
            )
            client.set_terminated(run)

    def tool() -> None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        log_times.measure(count)

    plain()
    return Part(plain, tool, count / 10)


def start(folder: Path, stage: str) -> Part:
    """A stage's command until it finds that its files are missing; against the import of torch, pandas and numpy."""
    import emobench

    preset = Path(emobench.__file__).parent / "presets" / "demo.yaml"
    (folder / "params.yaml").write_text(preset.read_text())
    run = functools.partial(subprocess.run, cwd=folder, capture_output=True, text=True)

    def tool() -> None:
        done = run([sys.executable, "-m", "emobench", stage])
        assert "emobench: " in done.stderr, done.stderr

    imports = "import numpy, pandas, torch"
    return Part(lambda: run([sys.executable, "-c", imports], check=True), tool)
