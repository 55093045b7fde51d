"""A range edit as the library offers it."""

import numpy as np
import pytest
import torch

import emobench
from emobench.errors import UserError


@pytest.fixture(scope="module")
def given():
    faces, _ = emobench.draw_faces(90, seed=0)
    return emobench.build_network("vggnet", {"width": 0.02}, classes=faces.classes), faces


def test_an_edit_beyond_a_threshold_is_judged_and_its_network_answers_so(given, tmp_path) -> None:
    network, faces = given
    mask = np.arange(network.card.layer("lin2").units) % 2 == 0
    options = {"factors": [0.0, 3.0], "quantiles": [0.3, 0.8], "controls": 2, "bootstrap_draws": 100}
    result = emobench.evaluate_range(network, faces, "lin2", mask, side="below", **options)
    assert set(result.verdicts["arm"]) == {"selected_below0.3", "selected_below0.8"}
    first = result.verdicts.set_index("images").loc["test"].iloc[0]
    assert (first["config_id"], first["verdict"]) == (result.edit.config_id, result.verdict)
    assert first["delta_accuracy"] == result.difference
    rows = faces.rows("test")
    right = (result.network.logits(faces.images, rows).argmax(1).numpy() == faces.labels[rows]).mean()
    assert right == pytest.approx(first["accuracy"])
    # Half of the units are edited, each below its own quantile on train.
    layer = result.network.model.lin2
    factors = torch.where(torch.from_numpy(mask), result.edit.factor, 1.0)
    assert torch.equal(layer.factor, factors)
    seen = emobench.record(network, faces.images, ["lin2"])["lin2"][faces.rows("train")]
    share = float(result.edit.arm.removeprefix("selected_below"))
    torch.testing.assert_close(layer.threshold, seen.quantile(share, dim=0))
    with pytest.raises(UserError, match="lin2: units scaled beyond a threshold can't be written as weights"):
        from emobench.networks.sources import save_network

        save_network(result.network, tmp_path / "network")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"side": "left"}, "unknown side 'left'; known: above, below"),
        ({"quantiles": 1.5}, r"quantiles are \[1.5\]; expected numbers between 0 and 1"),
        ({"layer": "lin9"}, "unknown layer to edit 'lin9'; known: conv1a"),
        ({"selected": np.ones(3, bool)}, r"selected is torch.bool \(3,\)"),
        ({"factors": 0.0, "others": "divided"}, "above 0 where the others are divided"),
    ],
)
def test_an_edit_that_can_not_be_is_refused(given, changes, message) -> None:
    network, faces = given
    mask = np.arange(network.card.layer("lin2").units) == 0
    with pytest.raises(UserError, match=message):
        emobench.evaluate_range(network, faces, **({"layer": "lin2", "selected": mask} | changes))
