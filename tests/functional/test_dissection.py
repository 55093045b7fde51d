import pytest
import torch

from emobench.errors import UserError
from emobench.functional.dissection import ConceptScores, concept_scores, dissect_layer, similarity_function
from emobench.functional.similarity import top_images
from emobench.params import SIMILARITY_FNS, load_params

DISSECT = load_params("emobench/presets/demo.yaml").dissect


def planted(images: int = 600) -> tuple[torch.Tensor, torch.Tensor, ConceptScores]:
    """Four units, of which three follow a concept and one is constant; concept m is class m."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (images,), generator=generator)
    scores = torch.nn.functional.one_hot(labels, 3) * 0.5 + 0.05 * torch.rand(images, 3, generator=generator)
    activations = torch.cat([scores[:, [2, 0, 1]], torch.full((images, 1), 0.3)], dim=1)
    return activations, labels, ConceptScores("planted", ["a", "b", "c"], scores, torch.eye(3, dtype=torch.bool))


@pytest.mark.parametrize("name", SIMILARITY_FNS)
def test_planted_concepts_are_found_and_the_constant_unit_is_dead(name: str) -> None:
    activations, labels, concepts = planted()
    top = top_images(activations, 5)
    columns, row = dissect_layer(activations, labels, concepts, similarity_function(name, DISSECT, 0), top=top, tau=0.0)
    assert columns["description"][:3] == ["c", "a", "b"]
    assert columns["label_accuracy"][:3] == [1, 1, 1]
    assert columns["dead"] == [False, False, False, True]
    assert (row["num_units"], row["dead"]) == (4, 1)


def test_rank_reorder_is_seeded_and_unknown_functions_are_named() -> None:
    activations, _, concepts = planted()
    once, twice = (similarity_function("rank_reorder", DISSECT, 3)(concepts.scores, activations) for _ in range(2))
    assert torch.equal(once, twice)
    with pytest.raises(UserError, match="unknown similarity function 'dot'; known: soft_wpmi"):
        similarity_function("dot", DISSECT, 0)


def test_concept_scores_are_cosines_with_classes() -> None:
    images, concepts = torch.eye(2), torch.tensor([[0.6, 0.8]])
    scored = concept_scores("set", images, concepts, ["smile"], {"smile": ["happy"]}, ["sad", "happy"])
    assert torch.allclose(scored.scores, torch.tensor([[0.6], [0.8]]))
    assert scored.membership.tolist() == [[False, True]]
