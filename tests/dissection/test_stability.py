import dataclasses

import pytest
import torch
from presets import preset

from emobench.dissection.scorers import Scorer, make_scorer
from emobench.dissection.stability import describe_again, stability
from emobench.functional.similarity import scores as similarity

DEMO = preset().dissect
FUNCTIONS = ("cos_similarity_cubed", "rank_reorder", "wpmi")
WPMI = dataclasses.replace(DEMO.wpmi, top_k=12)
DISSECT = dataclasses.replace(DEMO, wpmi=WPMI, null_draws=100)
TOP_K = 20
Case = tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, dict[str, Scorer]]]


@pytest.fixture(scope="module")
def case() -> Case:
    """Activations of 3 units that follow a concept each, and of 20 that follow none; two concept sets; scorers."""
    generator = torch.Generator().manual_seed(0)
    scores = {
        name: 0.1 + 0.5 * torch.rand(300, count, generator=generator) for name, count in (("few", 3), ("many", 6))
    }
    noise = torch.randn(300, 23, generator=generator)
    activations = torch.cat([scores["few"] + 0.002 * noise[:, :3], noise[:, 3:]], dim=1)
    scorers = {
        name: {function: make_scorer(function, DISSECT, one, 0) for function in FUNCTIONS}
        for name, one in scores.items()
    }
    return activations, scores, scorers


def kept(case: Case, disturbed: torch.Tensor | None = None, *, resamples: int = 10, seed: int = 0) -> dict:
    activations, scores, scorers = case
    best = describe_again(activations, scores, scorers, TOP_K)
    options = {"top_k": TOP_K, "resamples": resamples, "seed": seed}
    return stability(activations, disturbed, scores, scorers, best, **options)


def test_descriptions_again_are_those_of_the_public_functions(case) -> None:
    activations, scores, scorers = case
    found = describe_again(activations, scores, scorers, TOP_K)
    assert set(found) == {(name, function) for name in scores for function in FUNCTIONS}
    for name, one in scores.items():
        assert torch.equal(
            found[name, "cos_similarity_cubed"], similarity.cos_similarity_cubed(one, activations).argmax(dim=1)
        )
        expected = similarity.wpmi(one, activations, **vars(WPMI)).argmax(dim=1)
        assert torch.equal(found[name, "wpmi"], expected)


def test_stability_is_the_plain_loop_over_resamples(case) -> None:
    activations, scores, _ = case
    generator, counts = torch.Generator().manual_seed(4), torch.zeros(23)
    best = similarity.wpmi(scores["many"], activations, **vars(WPMI)).argmax(dim=1)
    for _ in range(6):
        rows = torch.randint(300, (300,), generator=generator)
        again = similarity.wpmi(scores["many"][rows], activations[rows], **vars(WPMI)).argmax(dim=1)
        counts += again == best
    found = kept(case, resamples=6, seed=4)["many", "wpmi"]["stability"]
    assert found.tolist() == pytest.approx((counts / 6).tolist())


def test_planted_units_keep_their_description_and_others_lose_it(case) -> None:
    found = kept(case)
    for function in FUNCTIONS:
        assert found["few", function]["stability"][:3].tolist() == [1, 1, 1], function
        assert found["many", function]["stability"][3:].mean() < 0.75


def test_noise_that_changes_nothing_and_noise_that_changes_all(case) -> None:
    activations, _, _ = case
    same = kept(case, activations.clone(), resamples=0)
    assert all((one["stability_noise"] == 1).all() for one in same.values())
    # The three planted units change places.
    moved = kept(case, activations[:, [1, 2, 0, *range(3, 23)]], resamples=0)
    for function in FUNCTIONS:
        assert moved["few", function]["stability_noise"].tolist() == [0] * 3 + [1] * 20


def test_what_is_not_measured_is_nan(case) -> None:
    for one in kept(case, resamples=0).values():
        assert one["stability"].isnan().all()
        assert one["stability_noise"].isnan().all()
        assert one["agreement"].isfinite().all()


def test_agreement_by_hand() -> None:
    best = {
        ("few", "a"): torch.tensor([0, 1, 2]),
        ("few", "b"): torch.tensor([0, 1, 0]),
        ("few", "c"): torch.tensor([0, 2, 1]),
        ("alone", "a"): torch.tensor([0, 1, 2]),
    }
    found = stability(torch.zeros(4, 3), None, {}, {}, best, top_k=1, resamples=0, seed=0)
    agreement = {key: one["agreement"] for key, one in found.items()}
    assert agreement["few", "a"].tolist() == [1, 0.5, 0]
    assert agreement["few", "b"].tolist() == [1, 0.5, 0]
    assert agreement["few", "c"].tolist() == [1, 0, 0]
    assert agreement["alone", "a"].isnan().all(), "another concept set is no second opinion"


def test_resamples_come_from_the_seed(case) -> None:
    once, again, other = kept(case), kept(case), kept(case, seed=1)
    assert all(torch.equal(once[key]["stability"], again[key]["stability"]) for key in once)
    assert any(not torch.equal(once[key]["stability"], other[key]["stability"]) for key in once)
