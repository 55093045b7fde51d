"""Does a unit keep its description when the probe, the images or the score function change a little?"""

from collections.abc import Mapping

import torch
from torch import Tensor

from emobench.dissection.scorers import Scorer
from emobench.functional.similarity.scores import top_images

Descriptions = Mapping[tuple[str, str], Tensor]
"""(concept set, function) -> index of each unit's description (units,)."""


def stability(
    activations: Tensor, disturbed: Tensor | None, scores: Mapping[str, Tensor],
    scorers: Mapping[str, Mapping[str, Scorer]], best: Descriptions, *, top_k: int, resamples: int, seed: int,
) -> dict[tuple[str, str], dict[str, Tensor]]:  # fmt: skip
    """Shares in which units keep their description.

    Args:
        activations: (images, units) on the probe.
        disturbed: the same with noise on the images; None where that wasn't recorded.
        scores: concept set -> (images, concepts) on the probe.
        scorers: concept set -> function -> scorer.
        best: the descriptions.
        top_k: how many sorted top images the scorers need.
        resamples: bootstrap resamples of the probe; 0 for none.
        seed: of the resamples.

    Returns:
        For each key of ``best``: ``stability`` (share of the resamples), ``stability_noise`` (1 if it is kept under
        noise), ``agreement`` (share of the other functions that agree); (units,) float64 each, NaN where not measured.
    """
    generator = torch.Generator().manual_seed(seed)
    counts = {key: torch.zeros(len(described), dtype=torch.float64) for key, described in best.items()}
    for _ in range(resamples):
        rows = torch.randint(len(activations), (len(activations),), generator=generator)
        again = describe_again(
            activations[rows], {name: values[rows] for name, values in scores.items()}, scorers, top_k
        )
        for key, described in again.items():
            counts[key] += described == best[key]
    noisy = None if disturbed is None else describe_again(disturbed, scores, scorers, top_k)
    result = {}
    for key, described in best.items():
        nothing = torch.full((len(described),), torch.nan, dtype=torch.float64)
        others = [other == described for name, other in best.items() if name[0] == key[0] and name != key]
        result[key] = {
            "stability": counts[key] / resamples if resamples else nothing,
            "stability_noise": nothing if noisy is None else (noisy[key] == described).double(),
            "agreement": torch.stack(others).double().mean(dim=0) if others else nothing,
        }
    return result


def describe_again(
    activations: Tensor, scores: Mapping[str, Tensor], scorers: Mapping[str, Mapping[str, Scorer]], top_k: int
) -> dict[tuple[str, str], Tensor]:
    """The descriptions by every concept set and function, on other images or activations than the scorers' own."""
    top = top_images(activations, top_k)
    return {
        (name, function): scorer.similarity(scores[name], activations, top).argmax(dim=1)
        for name, functions in scorers.items()
        for function, scorer in functions.items()
    }
