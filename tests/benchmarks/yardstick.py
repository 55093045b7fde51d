"""What speed is measured on and against: a plain torch loop over units, the way the published code goes about it."""

import math

import torch

SIZES = {"25 concepts": (28709, 4096, 25), "3000 concepts": (28709, 512, 3000), "20000 concepts": (28709, 256, 20000)}
"""Images, units and concepts: FER2013's train images with lin2, with conv4b and with conv3b."""


def draw(images, units, concepts):
    """Concept scores that look like cosines of CLIP, and activations."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.empty(images, concepts).normal_(0.2, 0.03, generator=generator)
    return scores, torch.randn(images, units, generator=generator)


def soft_wpmi(scores, activations, top_k=100, a=10.0, lam=1.0, min_prob=1e-7, p_start=0.998, p_end=0.97):
    membership = (p_start - torch.arange(top_k) / top_k * (p_start - p_end))[:, None]
    return _mutual_information(scores, activations, top_k, a, lam, lambda s: 1 + membership * (s - 1) + min_prob)


def wpmi(scores, activations, top_k=28, a=2.0, lam=0.6, min_prob=1e-7):
    return _mutual_information(scores, activations, top_k, a, lam, lambda s: s + min_prob)


def _mutual_information(scores, activations, top_k, a, lam, factor):
    probability = torch.softmax(a * scores, dim=1)
    top = torch.topk(activations, top_k, dim=0).indices
    rows = []
    for unit in range(activations.shape[1]):
        chosen = probability.gather(0, top[:, unit : unit + 1].expand(-1, probability.shape[1]))
        rows.append(torch.log(factor(chosen)).sum(0, keepdim=True))
    likelihood = torch.cat(rows)
    return likelihood - lam * (torch.logsumexp(likelihood, 0, keepdim=True) - math.log(len(likelihood)))


def rank_reorder(scores, activations, p=3, top_fraction=0.05, scale_p=0.5, batch=1500):
    values, top = torch.topk(activations, int(len(activations) * top_fraction), dim=0)
    rows = []
    for unit in range(activations.shape[1]):
        chosen = scores.gather(0, top[:, unit : unit + 1].expand(-1, scores.shape[1]))
        mean = chosen.mean(0, keepdim=True)
        ranks = chosen.argsort(0).argsort(0)
        target = values[:, unit : unit + 1]
        ascending = target.flip(0)
        random = torch.cat([ascending[torch.randperm(len(ascending))] for _ in range(5)], dim=1)
        baseline = ((ascending - random).abs() ** p).mean()
        errors = []
        for some in ranks.split(batch, dim=1):
            reordered = ascending.expand(-1, some.shape[1]).gather(0, some)
            errors.append(((target - reordered).abs() ** p).mean(0, keepdim=True) / baseline)
        rows.append(torch.cat(errors, dim=1) / mean**scale_p)
    return -torch.cat(rows)


def matrix_product(scores, activations):
    """What no cosine can do without."""
    return activations.T @ scores
