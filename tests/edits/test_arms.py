import edit_bench
import pandas as pd
import pytest
import torch
from presets import preset
from small_network import small_vggnet

from emobench.edits.arms import ARMS, configurations
from emobench.edits.layer_choice import choose_layer
from emobench.edits.target import Target, stacked, unit_table
from emobench.errors import UserError
from emobench.settings.edit import PaperCell
from emobench.vocabulary import concept_classes
from emobench.vocabulary.class_names import BASIC

WEIGHT = torch.tensor([[1.0, -1.0], [3.0, 0.0], [0.5, 0.5], [-4.0, 4.0]])
BIAS, MEAN = torch.tensor([0.1, -0.2, 0.3, 0.4]), torch.tensor([1.0, 2.0, 3.0, 4.0])
UNITS = pd.DataFrame(
    {
        "unit": range(4),
        "similarity": [0.6, -0.2, 0.1, 0.0],
        "description": ["smile", "frown", "smile", "no such concept"],
        "lift": [1.0, 1.2, float("nan"), 3.0],
        "q_value": [0.01, 0.05, 0.04, 0.9],
        "significant": [True, False, True, False],
        "measured_auprc": [0.1, 0.4, 0.3, float("nan")],
        "clip_auprc": [0.9, 0.1, 0.1, 0.9],
    }
)
EFFECTS = pd.DataFrame({"unit": range(4), "delta_accuracy": [-0.1, 0.0, 0.1, -0.2], "delta_nll": [0.1, 0.2, -0.1, 0.0]})


def target(weight=WEIGHT, bias=BIAS, units=UNITS, effects=EFFECTS, **edit):
    return Target(
        edit_bench.small_params(**edit).edit, "lin2", weight, bias, MEAN, units, effects, BASIC, concept_classes()
    )


def plan(**changes):
    return configurations(target(**changes))


def by_id(found):
    return {one.config_id: one for one in found}


def test_scales_of_the_papers_arms():
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
        "operation": "rows",
        "rows_differing": None,
        "n_up": 2,
        "n_down": 2,
    }
    assert found["lin2-weight_norm-f1.50"].scale.tolist() == pytest.approx([1 / 1.5, 1 / 1.5, 1 / 1.5, 1.5])
    proportional = found["lin2-proportional-expressions-soft_wpmi-f3.00"]
    assert proportional.scale.tolist() == pytest.approx([3, 0, 3 * 0.375, 3 * 0.25])
    assert all(one.shift is None for one in found.values())


@pytest.mark.parametrize(
    ("arm", "words", "selected"),
    [
        ("fdr", "-expressions-soft_wpmi", [1, 0, 1, 0]),
        ("accuracy", "-expressions-soft_wpmi", [0, 1, 0, 1]),
        ("faithfulness", "-expressions-soft_wpmi", [0, 1, 0, 0]),
    ],
)
def test_arms_that_divide_the_others(arm, words, selected):
    options = {"divided_factors": [2.0], "operations": ["rows", "rows_bias", "zero", "mean"]}
    found = by_id(plan(arms=[arm], **options))
    rows, both = found[f"lin2-{arm}{words}-f2.00"], found[f"lin2-{arm}{words}-rows_bias-f2.00"]
    zero, mean = found[f"lin2-{arm}{words}-zero"], found[f"lin2-{arm}{words}-mean"]
    assert len(found) == 5
    expected = [2.0 if one else 0.5 for one in selected]
    assert rows.scale.tolist() == both.scale.tolist() == expected
    assert rows.shift is None
    assert both.shift.tolist() == pytest.approx([s * b for s, b in zip(expected, BIAS.tolist(), strict=True)])
    assert zero.scale.tolist() == mean.scale.tolist() == [1.0 - one for one in selected]
    plain = list(zip(selected, BIAS.tolist(), MEAN.tolist(), strict=True))
    assert zero.shift.tolist() == pytest.approx([0 if one else b for one, b, _ in plain])
    assert mean.shift.tolist() == pytest.approx([m if one else b for one, b, m in plain])
    assert (rows.operation, rows.factor, zero.operation, zero.factor) == ("rows", 2.0, "zero", None)


def test_faithfulness_is_measured_against_clip_where_nothing_is_measured():
    unmeasured = UNITS.assign(measured_auprc=float("nan"))
    for units in (unmeasured, UNITS.drop(columns="measured_auprc")):
        found = plan(arms=["faithfulness"], operations=["zero"], units=units)
        assert found[1].scale.tolist() == [0, 1, 1, 0]


def test_description_selects_by_class_or_by_name_and_leaves_the_others_alone():
    options = {"arms": ["description"], "operations": ["rows"], "lone_factors": [0.0, 2.0]}
    found = by_id(plan(**options))
    assert len(found) == 1 + 7 * 2
    assert found["lin2-description-happy-expressions-soft_wpmi-f2.00"].scale.tolist() == [2, 1, 2, 1]
    assert found["lin2-description-happy-expressions-soft_wpmi-f0.00"].scale.tolist() == [0, 1, 0, 1]
    assert found["lin2-description-sad-expressions-soft_wpmi-f2.00"].scale.tolist() == [1, 2, 1, 1]
    assert found["lin2-description-angry-expressions-soft_wpmi-f2.00"].status == "degenerate"
    assert {one.criterion for one in found.values()} >= {"description:happy", "description:sad"}
    named = by_id(plan(concepts=["frown", "no such concept"], **options))
    assert named["lin2-description-named-expressions-soft_wpmi-f2.00"].scale.tolist() == [1, 2, 1, 2]
    with pytest.raises(UserError, match="unknown description of any unit of lin2: 'wink'; known: frown, no such"):
        plan(concepts=["wink"], **options)


def test_effect_selects_what_costs_accuracy_and_what_costs_nll():
    found = by_id(plan(arms=["effect"], operations=["rows"], lone_factors=[4.0]))
    assert found["lin2-effect-accuracy-f4.00"].scale.tolist() == [4, 1, 1, 4]
    assert found["lin2-effect-nll-f4.00"].scale.tolist() == [4, 4, 1, 1]
    assert len(found) == 3


def test_every_arm_of_params_is_registered():
    everything = plan(arms=list(ARMS))
    assert {one.arm for one in everything} == {"baseline", *ARMS}
    assert len(by_id(everything)) == len(everything)
    assert set(preset().edit.arms) <= set(ARMS)


def test_shifts_stand_beside_scales():
    configs = plan(arms=["fdr"], operations=["rows", "zero"], divided_factors=[2.0])
    scales, shifts = stacked(configs, BIAS)
    assert scales.tolist() == [one.scale.tolist() for one in configs]
    assert shifts.tolist() == [BIAS.tolist(), BIAS.tolist(), configs[2].shift.tolist()]
    assert stacked(configs[:2], BIAS)[1] is None


def test_none_or_all_is_degenerate_but_stays_in_the_grid():
    found = by_id(plan(taus=[-1.0, 0.0, 0.6]))
    status = {tau: found[f"lin2-similarity-expressions-soft_wpmi-tau{tau}-f1.50"].status for tau in ("-1.00", "+0.60")}
    assert status == {"-1.00": "degenerate", "+0.60": "degenerate"}
    assert found["lin2-similarity-expressions-soft_wpmi-tau+0.00-f1.50"].status == "ok"
    same = by_id(plan(units=UNITS.assign(similarity=0.0)))
    assert same["lin2-proportional-expressions-soft_wpmi-f1.50"].status == "degenerate"


@pytest.mark.parametrize("tau", [0.6, -1.0])
def test_a_single_named_configuration_must_select(tau):
    alone = {"arms": ["similarity"], "taus": [tau], "factors": [2.0]}
    with pytest.raises(UserError, match=f"arm similarity with tau {tau} and factor 2.0 holds no unit of lin2 or all 4"):
        plan(**alone)
    assert len(plan(**alone | {"taus": [0.0]})) == 3  # the published cell too
    with pytest.raises(UserError, match="arm fdr with what it selects holds no unit"):
        plan(arms=["fdr"], operations=["zero"], units=UNITS.assign(significant=False))


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


@pytest.fixture(scope="module")
def card():
    return small_vggnet(1 / 64).card


def test_the_layer_with_the_most_interpretable_units_before_lin3(card):
    edit = edit_bench.small_params().edit
    table = layers({"conv1a": 60, "lin1": 3489, "lin2": 3835, "lin3": 9999})
    other = table.assign(concept_set="emotions", num_interp=[9999, 0, 0, 0])
    assert choose_layer(edit, pd.concat([other, table]), card) == "lin2"
    assert choose_layer(edit_bench.small_params(layer="conv4a").edit, table, card) == "conv4a"
    with pytest.raises(UserError, match="no layer for expressions and soft_wpmi"):
        choose_layer(edit, other, card)


@pytest.mark.parametrize("layer", ["conv9a", "lin3", "pool", "bn1a"])
def test_a_layer_that_is_not_there_or_has_no_rows(card, layer):
    with pytest.raises(UserError, match=f"unknown layer to edit '{layer}'; known: conv1a, .*, lin2"):
        choose_layer(edit_bench.small_params(layer=layer).edit, layers({"lin2": 1}), card)


def test_the_unit_table_comes_in_the_order_of_units():
    edit = edit_bench.small_params().edit
    table = pd.DataFrame({"unit": [2, 0, 1], "similarity": [0.2, 0.0, 0.1], "layer": "lin2"})
    table = table.assign(concept_set="expressions", similarity_fn="soft_wpmi")
    other = table.assign(layer="lin1", similarity=9.0)
    assert unit_table(edit, "lin2", pd.concat([table, other])).similarity.tolist() == [0.0, 0.1, 0.2]
    for broken in (table[1:2].assign(unit=3), pd.concat([table, table])):
        with pytest.raises(UserError, match="expected each unit of lin2 once"):
            unit_table(edit, "lin2", broken)


def test_bad_input():
    with pytest.raises(UserError, match="layer lin2 has 4 units, the unit table 3"):
        plan(units=UNITS[:3])
    with pytest.raises(UserError, match="1 units have no similarity"):
        plan(units=UNITS.assign(similarity=[0.0, float("nan"), 1.0, 2.0]))
    broken = WEIGHT.clone()
    broken[1, 0] = torch.nan
    with pytest.raises(UserError, match="layer lin2: weights hold NaN"):
        plan(weight=broken)
    with pytest.raises(UserError, match="layer lin2: weights hold NaN"):
        plan(bias=BIAS * torch.nan)


@pytest.mark.parametrize(
    ("arm", "factors"),
    [("similarity", {"factors": [0.0]}), ("weight_norm", {"factors": [0.0]}), ("fdr", {"divided_factors": [2.0, 0.0]})],
)
def test_a_factor_of_zero_is_refused_where_its_inverse_is_needed(arm, factors):
    with pytest.raises(UserError, match=f"factor 0.0 in arm {arm}, which divides by it; expected more than 0"):
        plan(arms=[arm], **factors)


def test_a_factor_of_zero_is_fine_elsewhere():
    assert by_id(plan(factors=[0.0], arms=["proportional"]))
    assert by_id(plan(lone_factors=[0.0], divided_factors=[0.0], arms=["effect", "description"]))


@pytest.mark.parametrize(
    ("arm", "columns"),
    [
        ("fdr", ["significant"]),
        ("accuracy", ["lift"]),
        ("description", ["description"]),
        ("faithfulness", ["measured_auprc", "clip_auprc"]),
    ],
)
def test_an_arm_without_its_column(arm, columns):
    message = (
        f"has no {' or '.join(columns)} for lin2, which arm {arm} selects by; run dvc repro dissect, or leave {arm}"
    )
    for units in (UNITS.drop(columns=columns), UNITS.assign(**dict.fromkeys(columns, float("nan")))):
        with pytest.raises(UserError, match=message):
            plan(arms=[arm], units=units)
