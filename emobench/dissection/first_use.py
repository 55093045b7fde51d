"""Compiles every loop of the scores once, at installation, so that the first dissection doesn't wait for it.

``python -m emobench.dissection.first_use``; numba keeps what it compiled beside the modules.
"""

import torch

from emobench.concepts.scores import ConceptScores
from emobench.dissection.layer import Layer, dissect_layer
from emobench.dissection.scorers import make_scorer
from emobench.functional.faithfulness import agreement, measured_evidence
from emobench.functional.similarity.scores import top_images
from emobench.settings.dissect import SIMILARITY_FNS, Dissect


def compile_loops(dissect: Dissect) -> None:
    """Dissects two units of drawn numbers by every score function, so that each loop runs once."""
    images, classes = 256, 2
    scores, activations = torch.rand(2, images, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(images) % classes
    layer = Layer(activations, labels, top_images(activations, images // 2), dissect.top_images)
    concepts = ConceptScores("concepts", ["first", "second"], scores, torch.eye(2, dtype=torch.bool))
    for name in SIMILARITY_FNS:
        dissect_layer(layer, concepts, make_scorer(name, dissect, scores, 0), tau=dissect.tau, fdr=dissect.fdr)
    agreement(activations, measured_evidence(scores), dissect.active_share)


if __name__ == "__main__":
    from dataclasses import replace
    from pathlib import Path

    from emobench.params import load_params

    demo = load_params(Path(__file__).parents[1] / "presets" / "demo.yaml")
    compile_loops(replace(demo.dissect, null_draws=100))
