"""The stage record: every chosen layer, its controls, and only on the images that are read of them."""

import dataclasses
import json

import edit_bench
import numpy as np
import pytest

from emobench.faces.imageset import load_imageset
from emobench.networks.sources import load_network, save_network
from emobench.stages import record

PARAMS = edit_bench.small_params()


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    layout = edit_bench.write_benchmark(tmp_path_factory.mktemp("record"), train=20)
    network = load_network(layout.models / "network")
    chosen = dataclasses.replace(network.card, recorded=("conv1a", "lin2", "lin3"))
    save_network(dataclasses.replace(network, card=chosen), layout.models / "network")
    record.run(PARAMS, layout)
    return layout


def arrays(layout, layer):
    names = ("activations", "activations_untrained", "activations_noisy")
    return [np.load(layout.artifacts / name / f"{layer}.npy") for name in names]


@pytest.mark.parametrize("layer", ["conv1a", "lin2", "lin3"])
def test_a_chosen_layer_is_recorded_with_its_controls(layout, layer) -> None:
    imageset, network = load_imageset(layout.data), load_network(layout.models / "network")
    trained, untrained, disturbed = arrays(layout, layer)
    probe = imageset.probe_rows(PARAMS.dissect.probe)
    seen = np.unique(np.concatenate([probe, imageset.rows("val"), imageset.rows("test")]))
    assert trained.shape == (len(imageset.images), network.card.layer(layer).units)
    assert (len(untrained), len(disturbed)) == (len(seen), len(probe))
    assert trained.dtype == np.float32
    assert 0 < np.abs(trained[probe] - disturbed).mean() < np.abs(trained[seen] - untrained).mean()


def test_the_outputs_are_the_networks_own(layout) -> None:
    imageset, network = load_imageset(layout.data), load_network(layout.models / "network")
    np.testing.assert_allclose(arrays(layout, "lin3")[0], network.logits(imageset.images), atol=1e-5)


def test_other_layers_are_not_recorded_and_sources_are_told(layout) -> None:
    assert {path.stem for path in (layout.artifacts / "activations").glob("*.npy")} == {"conv1a", "lin2", "lin3"}
    source = json.loads((layout.artifacts / "activations" / "source.json").read_text())
    assert source["images_digest"] == load_imageset(layout.data).digest()
    assert source["weights_digest"] == load_network(layout.models / "network").card.weights
    assert json.loads((layout.artifacts / "activations_noisy" / "source.json").read_text())["noise"] == "0.02"


def test_without_controls_their_folders_are_there_and_empty(layout) -> None:
    params = dataclasses.replace(PARAMS, record=dataclasses.replace(PARAMS.record, untrained=False, noise=0.0))
    record.run(params, layout)
    for name in ("activations_untrained", "activations_noisy"):
        assert [path.name for path in (layout.artifacts / name).iterdir()] == ["source.json"]
