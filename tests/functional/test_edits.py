import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emobench.functional.edits import (
    above,
    edited_state,
    is_degenerate,
    lone_scale,
    output_shift,
    proportional_scale,
    row_norms,
    scaled_rows,
    selection_scale,
)

factors = st.floats(0.125, 8)
selections = st.lists(st.booleans(), min_size=1, max_size=12).map(torch.tensor)


def weight(units, seed=0):
    return torch.randn(units, 3, 2, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=50)
@given(selections)
def test_factor_one_changes_nothing(selected):
    original = weight(len(selected))
    assert torch.equal(scaled_rows(original, selection_scale(selected, 1.0)), original)


@settings(deadline=None, max_examples=50)
@given(selections, factors)
def test_an_edit_and_its_inverse_restore_the_weight(selected, factor):
    original = weight(len(selected))
    there = scaled_rows(original, selection_scale(selected, factor))
    back = scaled_rows(there, selection_scale(selected, 1 / factor))
    torch.testing.assert_close(back, original)


@settings(deadline=None, max_examples=50)
@given(selections, factors)
def test_inverse_factor_is_the_inverse_selection(selected, factor):
    torch.testing.assert_close(selection_scale(selected, factor), selection_scale(~selected, 1 / factor))


@settings(deadline=None, max_examples=50)
@given(selections, factors)
def test_rows_as_a_plain_loop(selected, factor):
    original = weight(len(selected))
    edited = scaled_rows(original, selection_scale(selected, factor))
    for row, is_selected in enumerate(selected.tolist()):
        expected = original[row] * factor if is_selected else original[row] / factor
        torch.testing.assert_close(edited[row], expected)


def test_an_edit_leaves_the_original_and_the_bias_alone():
    state = {"lin.weight": weight(4), "lin.bias": torch.ones(4), "other.weight": weight(2, seed=1)}
    before = {name: value.clone() for name, value in state.items()}
    edited = edited_state(state, "lin.weight", torch.tensor([2.0, 1.0, 0.0, -1.0]))
    assert list(edited) == list(state)
    assert not torch.equal(edited["lin.weight"], before["lin.weight"])
    edited["lin.bias"] += 1
    edited["other.weight"] += 1
    for name, value in before.items():
        assert torch.equal(state[name], value)


def test_a_shift_is_the_new_bias_and_is_not_shared():
    state, shift = {"lin.weight": weight(2), "lin.bias": torch.zeros(2)}, torch.tensor([1.0, 2.0])
    edited = edited_state(state, "lin.weight", torch.ones(2), shift, bias="lin.bias")
    assert edited["lin.bias"].tolist() == [1.0, 2.0]
    edited["lin.bias"] += 1
    assert shift.tolist() == [1.0, 2.0]
    assert state["lin.bias"].tolist() == [0.0, 0.0]


@settings(deadline=None, max_examples=50)
@given(selections, st.floats(0, 4))
def test_scales_that_leave_the_others_alone(selected, factor):
    expected = [factor if one else 1.0 for one in selected.tolist()]
    assert lone_scale(selected, factor).tolist() == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(selections, st.floats(0, 4))
def test_shift_of_each_operation_as_a_plain_loop(selected, factor):
    bias, mean = weight(len(selected)).flatten(1)[:, 0], weight(len(selected)).flatten(1)[:, 1]
    scale = lone_scale(selected, factor)
    assert output_shift("rows", scale, bias) is None
    expected = [s * b for s, b in zip(scale.tolist(), bias.tolist(), strict=True)]
    assert output_shift("rows_bias", scale, bias).tolist() == pytest.approx(expected)
    replaced = lone_scale(selected, 0.0)
    assert output_shift("zero", replaced, bias).tolist() == [
        0.0 if s else b for s, b in zip(selected, bias.tolist(), strict=True)
    ]
    shift = output_shift("mean", replaced, bias, mean)
    assert shift.tolist() == [m if s else b for s, b, m in zip(selected, bias.tolist(), mean.tolist(), strict=True)]


def test_norms_and_threshold():
    values = weight(5)
    assert row_norms(values).tolist() == pytest.approx([sum(abs(x) for x in row.flatten().tolist()) for row in values])
    assert above(torch.tensor([0.5, 0.25, 0.0]), 0.25).tolist() == [True, False, False]


@pytest.mark.parametrize(("selected", "expected"), [([True], True), ([False, False], True), ([True, False], False)])
def test_degenerate(selected, expected):
    assert is_degenerate(torch.tensor(selected)) is expected


def test_proportional_reaches_from_zero_to_the_factor_and_keeps_the_order():
    similarity = weight(20).flatten()
    scale = proportional_scale(similarity, 2.5)
    assert (scale.min(), scale.max()) == (0.0, 2.5)
    assert torch.equal(scale.argsort(), similarity.argsort())
    assert proportional_scale(torch.full((3,), 2.0), 1.5).tolist() == [1.5, 1.5, 1.5]


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_without_inverse(factor):
    with pytest.raises(ValueError, match="expected more than 0"):
        selection_scale(torch.tensor([True, False]), factor)


def test_bad_input():
    with pytest.raises(ValueError, match="1 of 2 units have NaN"):
        above(torch.tensor([0.0, torch.nan]), 0.0)
    with pytest.raises(ValueError, match="1 of 2 units have NaN"):
        proportional_scale(torch.tensor([0.0, torch.nan]), 1.0)
    with pytest.raises(ValueError, match=r"needs \(4,\)"):
        scaled_rows(weight(4), torch.ones(3))
    with pytest.raises(ValueError, match="NaN or infinity"):
        scaled_rows(weight(1), torch.tensor([torch.nan]))
    state = {"lin.weight": weight(2), "lin.bias": torch.ones(2), "bn.weight": torch.ones(2)}
    for name in ("conv9.weight", "bn.weight"):
        with pytest.raises(ValueError, match=f"{name} has no rows to scale; weights that have: lin.weight"):
            edited_state(state, name, torch.ones(2))
    for shift in (torch.ones(3), torch.tensor([1.0, torch.nan])):
        with pytest.raises(ValueError, match=r"expected finite numbers \(2,\)"):
            edited_state(state, "lin.weight", torch.ones(2), shift, bias="lin.bias")
    with pytest.raises(ValueError, match="has no bias that a shift could stand in"):
        edited_state(state, "lin.weight", torch.ones(2), torch.ones(2))
    assert "lin.bias" in edited_state(state, "lin.weight", torch.ones(2), torch.zeros(2))
