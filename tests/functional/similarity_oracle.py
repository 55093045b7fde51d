"""The five similarity functions as plain loops from their formulas, in float64."""

import math

import numpy as np
import torch


def top(values, k):
    """The k largest, the largest first, ties by index."""
    return sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]


def softmax(row):
    exps = [math.exp(value - max(row)) for value in row]
    return [value / sum(exps) for value in exps]


def corrected(likelihood, lam):
    units, concepts = likelihood.shape
    result = np.empty_like(likelihood)
    for m in range(concepts):
        largest = likelihood[:, m].max()
        total = sum(math.exp(likelihood[k, m] - largest) for k in range(units))
        for k in range(units):
            result[k, m] = likelihood[k, m] - lam * (largest + math.log(total) - math.log(units))
    return result


def soft_wpmi_likelihood(scores, activations, top_k=100, a=10.0, min_prob=1e-7, p_start=0.998, p_end=0.97):
    probability = [softmax([a * value for value in row]) for row in scores.astype(float)]
    likelihood = np.zeros((activations.shape[1], scores.shape[1]))
    for k in range(activations.shape[1]):
        for rank, image in enumerate(top(activations[:, k], top_k)):
            p = p_start - rank / top_k * (p_start - p_end)
            for m in range(scores.shape[1]):
                likelihood[k, m] += math.log(1 + p * (probability[image][m] - 1) + min_prob)
    return likelihood


def wpmi_likelihood(scores, activations, top_k=28, a=2.0, min_prob=1e-7):
    return soft_wpmi_likelihood(scores, activations, top_k, a, min_prob, 1.0, 1.0)


def soft_wpmi(scores, activations, lam=1.0, **options):
    return corrected(soft_wpmi_likelihood(scores, activations, **options), lam)


def wpmi(scores, activations, lam=0.6, **options):
    return corrected(wpmi_likelihood(scores, activations, **options), lam)


def cosine(x, y):
    norms = math.sqrt(sum(v * v for v in x)) * math.sqrt(sum(v * v for v in y))
    return sum(v * w for v, w in zip(x, y, strict=True)) / norms if norms else 0.0


def cos_similarity(scores, activations):
    columns = activations.T.astype(float).tolist()
    return np.array([[cosine(q, p) for p in scores.T.astype(float).tolist()] for q in columns])


def cos_similarity_cubed(scores, activations, min_norm=1e-3):
    def prepared(column):
        mean = sum(column) / len(column)
        cubes = [(value - mean) ** 3 for value in column]
        norm = max(math.sqrt(sum(cube * cube for cube in cubes)), min_norm)
        return [cube / norm for cube in cubes]

    units = [prepared(column) for column in activations.T.astype(float).tolist()]
    concepts = [prepared(column) for column in scores.T.astype(float).tolist()]
    return np.array([[sum(v * w for v, w in zip(q, p, strict=True)) for p in concepts] for q in units])


def rank_reorder(scores, activations, generator, p=3, top_fraction=0.05, scale_p=0.5):
    count = int(len(scores) * top_fraction)
    result = np.empty((activations.shape[1], scores.shape[1]))
    for k in range(activations.shape[1]):
        images = top(activations[:, k], count)
        ascending = [float(activations[i, k]) for i in reversed(images)]
        baseline = []
        for _ in range(5):
            order = torch.randperm(count, generator=generator).tolist()
            baseline += [abs(ascending[j] - ascending[order[j]]) ** p for j in range(count)]
        for m in range(scores.shape[1]):
            by_concept = sorted(images, key=lambda i: (scores[i, m], i))
            errors = [abs(float(activations[i, k]) - ascending[j]) ** p for j, i in enumerate(by_concept)]
            mean = sum(float(scores[i, m]) for i in images) / count
            ratio = sum(errors) / count / (sum(baseline) / len(baseline)) if sum(baseline) else 1.0
            result[k, m] = -ratio / mean**scale_p if mean > 0 else -math.inf
    return result
