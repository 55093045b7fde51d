import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emobench.functional.similarity import compiled, cosines, likelihood, reordering, topk
from emobench.functional.similarity import scores as similarity
from emobench.functional.similarity.topk import top_images

SPEC = importlib.util.spec_from_file_location("similarity_oracle", Path(__file__).with_name("similarity_oracle.py"))
oracle = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(oracle)


def make(kind, images=150, units=6, concepts=7, seed=0):
    """Activations of one kind, with concept scores that look like cosines."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.2, 0.05, (images, concepts)).astype(np.float32)
    activations = rng.normal(0, 1, (images, units)).astype(np.float32)
    if kind == "tied":
        activations = activations.round()
    elif kind == "constant":
        activations[:, ::2] = 0.5
    elif kind == "sparse":
        activations[rng.random(activations.shape) < 0.97] = 0
    elif kind == "ascending":
        activations.sort(axis=0)
    return scores, activations


KINDS = ["random", "tied", "constant", "sparse", "ascending"]


def assert_equals(actual, expected, scale=None):
    assert actual.dtype == torch.float32
    largest = np.abs(expected if scale is None else scale).max()
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=1e-4 * largest)


@pytest.fixture(scope="module", params=[2, 1], ids=["two threads", "one thread"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["soft_wpmi", "wpmi"])
def test_wpmis_equal_the_plain_loop(name, kind):
    scores, activations = make(kind)
    likelihood = getattr(oracle, f"{name}_likelihood")(scores, activations)
    actual = getattr(similarity, name)(torch.from_numpy(scores), torch.from_numpy(activations))
    assert_equals(actual, getattr(oracle, name)(scores, activations), scale=likelihood)


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 1},
        {"top_k": 150, "a": 100.0, "min_prob": 0.0, "p_start": 1.0, "p_end": 1.0},
        {"top_k": 97, "a": 0.0},
        {"top_k": 40, "p_start": 0.5, "p_end": 0.0, "lam": 0.3},
        {"top_k": 40, "min_prob": 1.0},
    ],
)
def test_soft_wpmi_takes_its_parameters(options):
    scores, activations = make("random")
    likelihood = oracle.soft_wpmi_likelihood(scores, activations, **{k: v for k, v in options.items() if k != "lam"})
    actual = similarity.soft_wpmi(torch.from_numpy(scores), torch.from_numpy(activations), **options)
    assert_equals(actual, oracle.soft_wpmi(scores, activations, **options), scale=likelihood)


def test_wpmis_equal_the_plain_loop_over_several_blocks(monkeypatch):
    monkeypatch.setattr(likelihood, "PRODUCTS_AT_ONCE", 1600)
    scores, activations = make("tied", images=60, units=5, concepts=700)
    actual = similarity.soft_wpmi(torch.from_numpy(scores), torch.from_numpy(activations), top_k=20)
    expected = oracle.soft_wpmi_likelihood(scores, activations, top_k=20)
    assert_equals(actual, oracle.corrected(expected, 1.0), scale=expected)


def test_products_of_factors_stay_within_float32():
    scores, activations = map(torch.from_numpy, make("random", images=300))
    scores[:, 0] = 2
    certain = similarity.soft_wpmi(scores, activations, top_k=300, a=1e3, min_prob=1.0, p_start=1, p_end=1, lam=0)
    torch.testing.assert_close(certain[:, 0], torch.full((6,), 300 * np.log(2), dtype=torch.float32))
    assert torch.equal(certain[:, 1:], torch.zeros(6, 6))
    never = similarity.soft_wpmi(scores, activations, top_k=300, a=1e30, min_prob=1e-38, p_start=1, p_end=1, lam=0)
    assert torch.equal(never[:, 0], torch.zeros(6))
    assert (never[:, 1:] < 300 * np.log(1e-37)).all()
    assert torch.isfinite(never).all()


def test_log_likelihood_of_given_images_is_what_soft_wpmi_corrects():
    scores, activations = map(torch.from_numpy, make("random"))
    top = top_images(activations, 30)
    actual = similarity.soft_wpmi_log_likelihood(scores, top, p_end=0.9)
    assert_equals(actual, oracle.soft_wpmi_likelihood(scores.numpy(), activations.numpy(), top_k=30, p_end=0.9))
    swapped = similarity.soft_wpmi_log_likelihood(scores, top.flip(0), p_end=0.9)
    assert not torch.allclose(actual, swapped, atol=1e-3)  # the order of the images counts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["cos_similarity", "cos_similarity_cubed"])
def test_cosines_equal_the_plain_loop(name, kind):
    scores, activations = make(kind)
    activations[:, 1] = 0
    actual = getattr(similarity, name)(torch.from_numpy(scores), torch.from_numpy(activations))
    assert_equals(actual, getattr(oracle, name)(scores, activations))


@pytest.mark.parametrize("name", ["cos_similarity", "cos_similarity_cubed"])
def test_cosines_over_several_parts_and_a_constant_that_float32_sums_would_move(name, monkeypatch):
    monkeypatch.setattr(cosines, "CUBES_AT_ONCE", 1 << 23)
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(0.2, 0.05, (28709, 1030)).astype(np.float32))
    activations = torch.from_numpy(rng.normal(5, 1, (28709, 3)).astype(np.float32))
    activations[:, 2] = 0.1
    p, q = scores.double(), activations.double()
    if name == "cos_similarity_cubed":
        p, q = (p - p.mean(0)) ** 3, (q - q.mean(0)) ** 3
    expected = (q / q.norm(dim=0).clamp(min=1e-3)).T @ (p / p.norm(dim=0).clamp(min=1e-3))
    actual = getattr(similarity, name)(scores, activations)
    assert_equals(actual, expected.numpy())


@pytest.mark.parametrize("factor", [1e-30, 1e30])
@pytest.mark.parametrize("name", ["cos_similarity", "cos_similarity_cubed"])
def test_cosines_stand_extreme_scales(name, factor):
    scores, activations = map(torch.from_numpy, make("random"))
    function = getattr(similarity, name)
    expected = function(scores, activations)
    if name == "cos_similarity_cubed" and factor < 1:
        expected = torch.zeros_like(expected)  # by the smallest norm
    torch.testing.assert_close(function(scores, activations * factor), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"p": 1, "top_fraction": 1.0, "scale_p": 2.0}, {"p": 2, "top_fraction": 0.41}])
def test_rank_reorder_equals_the_plain_loop(kind, options):
    scores, activations = make(kind)
    scores[:, 2] = scores[:, 2].round(1)
    scores[:, 3] -= 1
    actual = similarity.rank_reorder(
        torch.from_numpy(scores), torch.from_numpy(activations), generator=torch.Generator().manual_seed(3), **options
    )
    expected = oracle.rank_reorder(scores, activations, torch.Generator().manual_seed(3), **options)
    assert (actual[:, 3] == -torch.inf).all()
    assert np.isneginf(expected[:, 3]).all()
    usable = [0, 1, 2, 4, 5, 6]
    assert_equals(actual[:, usable], expected[:, usable])


def test_rank_reorder_depends_on_its_generator_alone():
    scores, activations = map(torch.from_numpy, make("random"))
    draw = [
        similarity.rank_reorder(scores, activations, top_fraction=0.2, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])


def test_rank_reorder_is_best_for_the_concept_that_orders_like_the_unit():
    scores, activations = map(torch.from_numpy, make("random"))
    scores[:, 4] = activations[:, 0] - activations.min() + 1
    result = similarity.rank_reorder(scores, activations, top_fraction=0.3, generator=torch.Generator().manual_seed(0))
    assert result[0, 4] == 0
    assert result[0].argmax() == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 3, 149, 150])
def test_top_images_go_by_activation_then_index(kind, k):
    activations = make(kind)[1]
    expected = np.array([oracle.top(activations[:, u], k) for u in range(activations.shape[1])]).T
    np.testing.assert_array_equal(top_images(torch.from_numpy(activations), k).numpy(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_top_images_of_many_images_equal_a_stable_sort(kind):
    activations = torch.from_numpy(make(kind, images=20_000, units=37)[1])
    for k in (5, 100, 1000):
        expected = activations.sort(dim=0, descending=True, stable=True).indices[:k]
        assert torch.equal(top_images(activations, k), expected)


def test_top_images_where_the_sample_of_images_misleads():
    activations = torch.zeros(20_000, 9)
    activations[:: topk.SAMPLING, ::2] = 1  # all that the sample sees
    activations[torch.randperm(20_000, generator=torch.Generator().manual_seed(0))[:50], 1] = 2
    expected = activations.sort(dim=0, descending=True, stable=True).indices[:1000]
    assert torch.equal(top_images(activations, 1000), expected)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(arrays(np.float32, (40, 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_top_images_of_any_finite_numbers(activations):
    expected = torch.from_numpy(activations).sort(dim=0, descending=True, stable=True).indices[:7]
    assert torch.equal(top_images(torch.from_numpy(activations), 7), expected)


def test_views_are_read_as_they_are():
    scores, activations = map(torch.from_numpy, make("tied", units=12))
    for name in ("soft_wpmi", "cos_similarity", "cos_similarity_cubed"):
        function = getattr(similarity, name)
        expected = function(scores[::2, 1:5].contiguous(), activations[::2, 3:9].contiguous(), **TOP.get(name, {}))
        actual = function(scores[::2, 1:5], activations[::2, 3:9], **TOP.get(name, {}))
        torch.testing.assert_close(actual, expected)


TOP = {"soft_wpmi": {"top_k": 20}}


@pytest.mark.parametrize("kind", KINDS)
def test_plain_torch_paths_agree_with_the_compiled_ones(kind):
    scores, activations = map(torch.from_numpy, make(kind, units=9))
    top = top_images(activations, 60)
    assert torch.equal(topk._sorted_top_images(activations, 60), top)
    slope = torch.linspace(1, 0.9, 60)
    arguments = (scores, top, 1 - slope + 1e-7, slope, 10.0)
    expected = likelihood._gathered_log_likelihood(*arguments)
    torch.testing.assert_close(likelihood._compiled_log_likelihood(*arguments), expected, rtol=1e-5, atol=1e-4)
    values = activations.gather(0, top)
    baseline = reordering.random_errors(values, 3, torch.Generator().manual_seed(0))
    arguments = (scores.round(decimals=1), top, values, baseline, 3, 0.5)
    plain = reordering._plain_scores(arguments[0], reordering.Tops(*arguments[1:]))
    torch.testing.assert_close(reordering.reorder_scores(*arguments), plain, rtol=1e-5, atol=1e-6)
    means = cosines.column_means("activations", activations)
    torch.testing.assert_close(means, activations.double().mean(0).float())
    scores = scores.repeat_interleave(3, dim=0)[7:380]
    columns = cosines.Columns(scores, scores.mean(0), torch.linspace(0.5, 2, 7))
    rooms, squares = torch.empty(2, 400, 7), torch.ones(2, 7, dtype=torch.float64)
    cubed = cosines._cubed(columns, rooms[0], squares[0])
    plain = cosines._plain_cubed(columns, rooms[1, :373], squares[1])
    torch.testing.assert_close(cubed, plain, rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(*squares, rtol=1e-6, atol=0)


def test_powers_of_two_and_spans_of_rows():
    @compiled.compiled
    def powers(values, result):
        for i in range(len(values)):
            result[i] = compiled.power_of_two(values[i])

    exponents = -np.concatenate([np.arange(126), np.random.default_rng(0).uniform(0, 125, 20_000)]).astype(np.float32)
    result = np.empty_like(exponents)
    powers(exponents, result)
    np.testing.assert_allclose(result, np.exp2(exponents.astype(float)), rtol=2.5e-7)
    assert result[0] == 1
    rows = np.random.default_rng(0).normal(size=(4, 37)).astype(np.float32)
    rows[2] = -np.abs(rows[2])
    rows[3, ::2] = -0.0
    np.testing.assert_array_equal(compiled.spans(*rows), np.stack([rows.min(1), rows.max(1)], axis=1))
    for bad in (np.nan, -np.nan, np.inf, -np.inf):
        rows[1, 36] = bad
        np.testing.assert_array_equal(np.isnan(compiled.spans(*rows)).all(axis=1), [False, True, False, False])


CALLS = {
    "soft_wpmi": lambda s, a: similarity.soft_wpmi(s, a, top_k=5),
    "wpmi": lambda s, a: similarity.wpmi(s, a, top_k=5),
    "rank_reorder": lambda s, a: similarity.rank_reorder(s, a, generator=torch.Generator()),
    "cos_similarity": similarity.cos_similarity,
    "cos_similarity_cubed": similarity.cos_similarity_cubed,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["concept_scores", "activations"])
@pytest.mark.parametrize("place", [torch.argmin, torch.argmax], ids=["in nobody's top images", "in a unit's"])
def test_what_is_not_finite_is_named(call, name, bad, place):
    inputs = dict(zip(("concept_scores", "activations"), map(torch.from_numpy, make("random")), strict=True))
    inputs[name][int(place(inputs["activations"].sum(1))), 2] = bad
    with pytest.raises(ValueError, match=rf"^{name}: expected finite numbers; got 1 NaN or infinite of"):
        call(*inputs.values())


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_inputs_that_do_not_fit_are_refused(call):
    scores, activations = map(torch.from_numpy, make("random"))
    with pytest.raises(ValueError, match="activations: expected as many images as concept_scores, 150; got 149"):
        call(scores, activations[:-1])
    with pytest.raises(ValueError, match="needs at least 2 concepts"):
        call(scores[:, :1], activations)
    with pytest.raises(ValueError, match=r"activations: expected a float32 matrix, not empty; got .*float64"):
        call(scores, activations.double())
    with pytest.raises(ValueError, match=r"concept_scores: expected a float32 matrix.*\(150,\)"):
        call(scores[:, 0], activations)
    with pytest.raises(ValueError, match="activations: expected on cpu; got on meta"):
        call(scores, activations.to("meta"))


def test_parameters_out_of_range_are_refused():
    scores, activations = map(torch.from_numpy, make("random"))
    generator = torch.Generator()
    with pytest.raises(ValueError, match="top_k: expected 1 to 150, the number of images; got 151"):
        similarity.soft_wpmi(scores, activations, top_k=151)
    with pytest.raises(ValueError, match="top_k: expected 1 to 150, the number of images; got 0"):
        similarity.wpmi(scores, activations, top_k=0)
    with pytest.raises(ValueError, match="k: expected 1 to 150"):
        top_images(activations, 151)
    with pytest.raises(ValueError, match=r"activations: expected \(images, units\)"):
        top_images(activations[0], 1)
    with pytest.raises(ValueError, match=r"p_start, p_end: expected 0 <= p_end <= p_start <= 1; got 0.5, 0.6"):
        similarity.soft_wpmi(scores, activations, p_start=0.5, p_end=0.6)
    with pytest.raises(ValueError, match=r"min_prob <= 1; got 10.0, -1"):
        similarity.soft_wpmi(scores, activations, min_prob=-1)
    with pytest.raises(ValueError, match=r"top: expected \(top_k, units\) indices of 150 images"):
        similarity.wpmi_log_likelihood(scores, torch.tensor([[150]]))
    with pytest.raises(ValueError, match=r"top_fraction: .* 150 images .*got 0.001"):
        similarity.rank_reorder(scores, activations, top_fraction=0.001, generator=generator)
    with pytest.raises(ValueError, match=r"p: expected a whole number of at least 1; got 1.5"):
        similarity.rank_reorder(scores, activations, p=1.5, generator=generator)
