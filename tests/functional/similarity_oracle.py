"""The five similarity functions as plain loops from their formulas, in float64."""

import math

import numpy as np


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
