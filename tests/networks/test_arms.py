import edit_bench
import pandas as pd
import pytest
import torch

from emobench.errors import UserError
from emobench.networks.arms import choose_layer, configurations, unit_similarity
from emobench.params import PaperCell

WEIGHT = torch.tensor([[1.0, -1.0], [3.0, 0.0], [0.5, 0.5], [-4.0, 4.0]])
SIMILARITY = torch.tensor([0.6, -0.2, 0.1, 0.0])


def plan(weight=WEIGHT, similarity=SIMILARITY, **edit):
    return configurations(edit_bench.small_params(**edit).edit, "lin2", weight, similarity)


def by_id(found):
    return {one.config_id: one for one in found}


def test_scales_of_each_arm():
    found = by_id(plan())
    assert found["baseline"].scale.tolist() == [1, 1, 1, 1]
    similar = found["lin2-similarity-expressions-soft_wpmi-tau+0.00-f3.00"]
    assert similar.scale.tolist() == pytest.approx([3, 1 / 3, 3, 1 / 3])
    assert similar.columns() == {
        "config_id": similar.config_id,
        "arm": "similarity",
        "status": "ok",
        "criterion": "similarity",
        "tau": 0.0,
        "factor": 3.0,
        "control_of": None,
        "seed": None,
        "n_up": 2,
        "n_down": 2,
    }
    assert found["lin2-weight_norm-f1.50"].scale.tolist() == pytest.approx([1 / 1.5, 1 / 1.5, 1 / 1.5, 1.5])
    proportional = found["lin2-proportional-expressions-soft_wpmi-f3.00"]
    assert proportional.scale.tolist() == pytest.approx([3, 0, 3 * 0.375, 3 * 0.25])


def test_none_or_all_is_degenerate_but_stays_in_the_grid():
    found = by_id(plan(taus=[-1.0, 0.0, 0.6]))
    status = {tau: found[f"lin2-similarity-expressions-soft_wpmi-tau{tau}-f1.50"].status for tau in ("-1.00", "+0.60")}
    assert status == {"-1.00": "degenerate", "+0.60": "degenerate"}
    assert found["lin2-similarity-expressions-soft_wpmi-tau+0.00-f1.50"].status == "ok"
    same = by_id(plan(similarity=torch.zeros(4)))
    assert same["lin2-proportional-expressions-soft_wpmi-f1.50"].status == "degenerate"


def test_the_published_cell_is_added_once():
    assert len(plan()) == len(plan(paper=PaperCell(tau=0.5, factor=3.0)))
    found = by_id(plan(paper=PaperCell(tau=0.125, factor=1.75)))
    assert len(found) == len(plan()) + 1
    assert "lin2-similarity-expressions-soft_wpmi-tau+0.125-f1.75" in found
    assert len(by_id(plan(taus=[0.0, 0.0]))) == len(plan(taus=[0.0]))


def test_only_the_arms_asked_for():
    assert {one.arm for one in plan(arms=["weight_norm"])} == {"baseline", "weight_norm"}


def layers(counts):
    rows = [{"layer": layer, "num_interp": count} for layer, count in counts.items()]
    return pd.DataFrame(rows).assign(concept_set="expressions", similarity_fn="soft_wpmi")


def test_the_layer_with_the_most_interpretable_units_before_lin3():
    edit = edit_bench.small_params().edit
    table = layers({"conv1a": 60, "lin1": 3489, "lin2": 3835, "lin3": 9999})
    other = table.assign(concept_set="emotions", num_interp=[9999, 0, 0, 0])
    assert choose_layer(edit, pd.concat([other, table])) == "lin2"
    assert choose_layer(edit_bench.small_params(layer="conv4a").edit, table) == "conv4a"
    with pytest.raises(UserError, match="no layer for expressions and soft_wpmi"):
        choose_layer(edit, other)


def test_similarities_come_in_the_order_of_units():
    edit = edit_bench.small_params().edit
    table = pd.DataFrame({"unit": [2, 0, 1], "similarity": [0.2, 0.0, 0.1], "layer": "lin2"})
    table = table.assign(concept_set="expressions", similarity_fn="soft_wpmi")
    other = table.assign(layer="lin1", similarity=9.0)
    assert unit_similarity(edit, "lin2", pd.concat([table, other])).tolist() == [0.0, 0.1, 0.2]
    for broken in (table[1:2].assign(unit=3), pd.concat([table, table])):
        with pytest.raises(UserError, match="expected each unit of lin2 once"):
            unit_similarity(edit, "lin2", broken)


def test_bad_input():
    with pytest.raises(UserError, match="layer lin2 has 4 units, the unit table 3"):
        plan(similarity=SIMILARITY[:3])
    with pytest.raises(UserError, match="1 units have no similarity"):
        plan(similarity=torch.tensor([0.0, torch.nan, 1.0, 2.0]))
    with pytest.raises(UserError, match="factor 0.0 in arm similarity, which divides by it"):
        plan(factors=[0.0])
    assert by_id(plan(factors=[0.0], arms=["proportional"]))
