import dataclasses

import numpy as np
import pytest

from emobench.reporting.headlines import headlines
from emobench.reporting.results import Results


@pytest.fixture(scope="module")
def results(real) -> Results:
    return Results(*real)


def test_a_dozen_numbers_say_what_the_tables_say(results) -> None:
    found = headlines(results)
    assert len(found) == 13
    assert found["accuracy"] == results.config(results.baseline_id)["accuracy"]
    for name, config_id in (("chosen", results.chosen_id), ("paper", results.paper_id)):
        gain = results.config(config_id)["accuracy"] - found["accuracy"]
        assert found[name] == pytest.approx(100 * gain)
    judged = results.verdicts[results.verdicts["images"] == "test"]["config_id"].nunique()
    assert found["improve"] + found["harm"] + found["open"] == judged
    layers = results.layers.set_index(["layer", "concept_set", "similarity_fn"])
    layer = layers.loc[(results.configs["layer"].dropna().iloc[0], "expressions", "soft_wpmi")]
    assert found["described"] == layer["num_significant"] / layer["num_units"]
    assert found["untrained"] == layer["untrained_prop_significant"]
    assert found["auprc"] == layer["measured_auprc_described"]


def test_without_annotations_clips_scores_are_the_evidence_and_without_the_papers_edit_nothing_is_said(real) -> None:
    results = Results(*real)
    results.layers.loc[:, "measured_auprc_described"] = np.nan
    cell = dataclasses.replace(results.params.edit.paper, tau=7.0)
    results.params = dataclasses.replace(results.params, edit=dataclasses.replace(results.params.edit, paper=cell))
    found = headlines(results)
    assert found["random"] in results.layers["clip_auprc_random"].tolist()
    assert np.isnan([found["paper"], found["paper_p"]]).all()
