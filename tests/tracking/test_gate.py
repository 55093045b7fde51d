"""MLflow's own evaluation of registered networks, on the small benchmark of the registry's tests."""

import numpy as np
import pytest
from kinds import VGG
from tracking.test_model_registry import Benchmark, probabilities

from emobench.errors import UserError
from emobench.tracking import gate
from emobench.tracking.model_registry import mlflow

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*", "ignore::FutureWarning:mlflow.*")


def test_a_registered_network_is_evaluated_and_held_against_the_baseline(tmp_path, empty_store, monkeypatch, caplog):
    small = Benchmark(tmp_path, empty_store, chosen="improves")
    small.register()
    pictures = VGG.pictures(40)
    # What the baseline answers are the labels but for four: it gets nine of ten right, whatever its weights.
    labels = probabilities(small.layout, "baseline", pictures).argmax(1)
    labels[:4] = (labels[:4] + 1) % 7
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", small.uri)
    mlflow.set_tracking_uri(small.uri)
    try:
        with mlflow.start_run(experiment_id=small.experiment, run_name="gate") as run:
            baseline, champion = (
                gate.evaluate(f"models:/small@{alias}", pictures, labels) for alias in ("baseline", "champion")
            )
        with pytest.raises(UserError, match="models:/small@nobody can't be loaded"):
            gate.evaluate("models:/small@nobody", pictures, labels)
    finally:
        mlflow.set_tracking_uri(before)
        mlflow.clear_active_model()
    assert not [record for record in caplog.records if "looks like None" in record.getMessage()]
    edited = (probabilities(small.layout, "champion", pictures).argmax(1) == labels).mean()
    assert baseline.metrics["accuracy_score"] == pytest.approx(0.9)
    assert champion.metrics["accuracy_score"] == pytest.approx(edited)
    assert small.client.get_run(run.info.run_id).data.metrics["accuracy_score"] == pytest.approx(edited)
    lost = 0.9 - edited
    assert lost > 0.05
    gate.hold(champion, baseline, most_lost=lost + 0.01)
    gate.hold(baseline, baseline, most_lost=0)
    with pytest.raises(UserError, match=rf"accuracy {edited:.4f}, the baseline's is 0.9000: more than 0.05 lost"):
        gate.hold(champion, baseline, most_lost=0.05)
    with pytest.raises(UserError, match="most_lost is 2; expected a share"):
        gate.hold(champion, baseline, most_lost=2)


def test_pictures_and_labels_of_different_number_are_refused():
    with pytest.raises(UserError, match="3 pictures and 2 labels"):
        gate.evaluate("models:/any@baseline", VGG.pictures(3), np.zeros(2, int))
