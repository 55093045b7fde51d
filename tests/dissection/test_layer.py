import numpy as np
import pytest
import torch
from presets import preset

from emobench.concepts.scores import ConceptScores, concept_scores
from emobench.dissection.layer import Layer, dissect_layer, held_out_columns, truly_best
from emobench.dissection.scorers import make_scorer
from emobench.errors import UserError
from emobench.functional.faithfulness import METRICS
from emobench.functional.similarity import scores as similarity
from emobench.functional.similarity.scores import top_images
from emobench.settings.dissect import SIMILARITY_FNS

DISSECT = preset().dissect


def planted(images: int = 600) -> tuple[torch.Tensor, torch.Tensor, ConceptScores]:
    """Four units, of which three follow a concept and one is constant; concept m is class m."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (images,), generator=generator)
    scores = torch.nn.functional.one_hot(labels, 3) * 0.5 + 0.05 * torch.rand(images, 3, generator=generator)
    activations = torch.cat([scores[:, [2, 0, 1]], torch.full((images, 1), 0.3)], dim=1)
    return activations, labels, ConceptScores("planted", ["a", "b", "c"], scores, torch.eye(3, dtype=torch.bool))


def layer_of(activations: torch.Tensor, labels: torch.Tensor) -> Layer:
    return Layer(activations, labels, top_images(activations, 100), 5)


@pytest.mark.parametrize("name", SIMILARITY_FNS)
def test_planted_concepts_are_found_and_the_constant_unit_is_dead(name: str) -> None:
    activations, labels, concepts = planted()
    scorer = make_scorer(name, DISSECT, concepts.scores, 0)
    found = dissect_layer(layer_of(activations, labels), concepts, scorer, tau=0.0, fdr=0.05)
    assert found.units["description"][:3] == ["c", "a", "b"]
    assert found.units["label_accuracy"][:3] == [1, 1, 1]
    assert found.units["dead"] == [False, False, False, True]
    assert found.units["null_p"][3] == found.units["q_value"][3] == 1
    assert (found.row["num_units"], found.row["dead"]) == (4, 1)
    assert sum(found.null["null_shares"]) == pytest.approx(1)
    assert found.null["unit_shares"] == pytest.approx([share / 4 for share in np.bincount(found.best, minlength=3)])
    assert found.null["quantiles"] == sorted(found.null["quantiles"])
    if name != "rank_reorder":  # whose mean score says little where a unit's top images all are of its class
        assert found.units["q_value"][:3] == pytest.approx([4 / 3 / (1 + DISSECT.null_draws)] * 3)
        assert found.row["num_significant"] == 3


@pytest.mark.parametrize("name", SIMILARITY_FNS)
def test_units_that_know_nothing_are_rarely_significant(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    scores = 0.2 + 0.05 * torch.randn(1500, 6, generator=generator)
    activations = torch.randn(1500, 400, generator=generator)
    concepts = ConceptScores("noise", list("abcdef"), scores, torch.zeros(6, 3, dtype=torch.bool))
    scorer = make_scorer(name, DISSECT, scores, 0)
    labels = torch.zeros(1500, dtype=torch.int64)
    found = dissect_layer(layer_of(activations, labels), concepts, scorer, tau=0.0, fdr=0.05)
    p_values = torch.tensor(found.units["null_p"])
    assert found.row["num_significant"] <= 2
    # soft_wpmi and wpmi subtract the layer's own normaliser, to which every unit has contributed.
    assert 0.3 < p_values.mean() < 0.75
    assert (p_values < 0.05).double().mean() < 0.1


def test_scorers_are_seeded_and_mistakes_are_named() -> None:
    activations, labels, concepts = planted()
    layer = layer_of(activations, labels)
    once, twice = (make_scorer("rank_reorder", DISSECT, concepts.scores, 3) for _ in range(2))
    assert torch.equal(once.judge(activations, layer.top)[0], twice.judge(activations, layer.top)[0])
    with pytest.raises(UserError, match="unknown similarity function 'dot'; known: soft_wpmi"):
        make_scorer("dot", DISSECT, concepts.scores, 0)
    with pytest.raises(UserError, match=r"params: dissect.soft_wpmi.top_k is 100; the probe has 60 images"):
        make_scorer("soft_wpmi", DISSECT, concepts.scores[:60], 0)


@pytest.mark.parametrize("name", SIMILARITY_FNS)
def test_scorers_give_what_the_public_functions_give(name: str) -> None:
    activations, labels, concepts = planted()
    layer = layer_of(activations, labels)
    options = dict(vars(getattr(DISSECT, name))) if hasattr(DISSECT, name) else {}
    if name == "rank_reorder":
        options["generator"] = torch.Generator().manual_seed(0)
    expected = getattr(similarity, name)(concepts.scores, activations, **options)
    scorer = make_scorer(name, DISSECT, concepts.scores, 0)
    assert torch.equal(scorer.judge(activations, layer.top)[0], expected)
    assert torch.equal(scorer.similarity(concepts.scores, activations, layer.top), expected)


def test_held_out_columns_beside_their_controls() -> None:
    table = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.6, torch.nan], [torch.nan, torch.nan, torch.nan]])
    columns, rows = held_out_columns({"clip": dict.fromkeys(METRICS, table)}, torch.tensor([0, 0, 1]))
    assert columns["clip_f1"] == pytest.approx([0.9, 0.3, np.nan], nan_ok=True)
    assert set(columns) == {f"clip_{name}" for name in METRICS}
    assert rows[0] == {
        "source": "clip", "metric": "f1", "units": 2, "described": pytest.approx(0.6),
        "random": pytest.approx((0.4 + 0.45) / 2), "constant": pytest.approx(0.6), "best": pytest.approx(0.75),
    }  # fmt: skip


def test_truly_best_counts_the_best_and_the_three_best() -> None:
    table = torch.tensor([[4.0, 3, 2, 1], [4, 3, 2, 1], [4, 3, 2, 1], [1, torch.nan, torch.nan, 0], [torch.nan] * 4])
    found = truly_best(table, torch.tensor([0, 2, 3, 1, 0]))
    assert found == {
        "units": 4, "top1": 0.25, "top3": 0.5, "top1_random": pytest.approx((3 / 4 + 1 / 2) / 4),
        "top3_random": pytest.approx((3 * 3 / 4 + 1) / 4),
    }  # fmt: skip


def test_concept_scores_are_cosines_with_classes() -> None:
    images, concepts = torch.eye(2), torch.tensor([[0.6, 0.8]])
    scored = concept_scores("set", images, concepts, ["smile"], {"smile": ["happy"]}, ["sad", "happy"])
    assert torch.allclose(scored.scores, torch.tensor([[0.6], [0.8]]))
    assert scored.membership.tolist() == [[False, True]]
