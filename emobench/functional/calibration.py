"""Temperature scaling (Guo et al., 2017, arXiv:1706.04599, section 4.2): one number that divides all logits."""

import torch
from torch import Tensor

REACH = 1000.0
PRECISION = 1e-12
PLAIN_STEPS, MOST_STEPS = 12, 120
"""Newton alone needs about six steps; where it creeps (a minimum far out, or none) every other step is a bisection."""


def fit_temperature(logits: Tensor, labels: Tensor) -> Tensor:
    """The temperature T that minimises the NLL of softmax(logits / T), for one network or for many at once.

    The NLL is convex in 1/T, so the minimum is the only one: the root of its slope, the mean over images of
    sum_c p_c (logit_c - logit_label), is found by Newton's method within a bracket. It is searched up to a factor of
    1000 around the spread of the logits: where every answer is right (T to 0) or worse than chance (T to infinity)
    there is none, and a temperature is returned that differs from the best NLL by rounding, or the end of the search.
    Logits multiplied by c give c times the temperature.

    Args:
        logits: (..., images, classes).
        labels: (images,) integers.

    Returns:
        T > 0, float64 (...). 1 where all logits of each image are equal: no temperature changes anything.

    Raises:
        ValueError: NaN or infinite logits, no image, or shapes that don't fit.

    >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
    >>> (2 / fit_temperature(logits, torch.tensor([0, 0, 0, 1]))).exp()
    tensor(3.0000, dtype=torch.float64)
    """
    if logits.ndim < 2 or labels.shape != logits.shape[-2:-1] or not len(labels):
        raise ValueError(
            f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)}; expected (..., n, classes), (n,), n > 0"
        )
    if not logits.isfinite().all():
        raise ValueError("logits hold NaN or infinity; the network's weights or its inputs are broken")
    # Classes first, so that the sums over them run along memory; relative to the label's logit.
    margins = logits.double().movedim(-1, 0).contiguous()
    margins -= margins.gather(0, labels.long().expand(margins.shape[1:]).unsqueeze(0))
    spread = margins.square().mean((0, -1)).sqrt()
    flat = spread == 0
    margins /= spread.masked_fill(flat, 1.0).unsqueeze(-1)
    return torch.where(flat, 1.0, spread / _root(margins))


def _root(margins: Tensor) -> Tensor:
    """1/T (...) at which the NLL of margins (classes, ..., images) has slope 0, or the end of the search."""
    inverse = margins.new_ones(margins.shape[1:-1])
    low, high = inverse / REACH, inverse * REACH
    settled = torch.zeros_like(inverse, dtype=torch.bool)
    for step in range(MOST_STEPS):
        probabilities = (margins * inverse.unsqueeze(-1)).softmax(0)
        weighted = probabilities * margins
        means = weighted.sum(0)
        slope, curvature = means.mean(-1), ((weighted * margins).sum(0) - means.square()).mean(-1)
        low, high = torch.where(slope < 0, inverse, low), torch.where(slope < 0, high, inverse)
        newton = inverse - slope / curvature
        inside = (newton > low) & (newton < high) & (step < PLAIN_STEPS or step % 2 == 0)
        moved = torch.where(inside, newton, (low * high).sqrt())
        # At the root itself rounding may hold Newton's step on the bracket's end.
        there = (newton - inverse).abs() <= PRECISION * inverse
        inverse = torch.where(settled | there, inverse, moved)
        settled = settled | there | (high - low <= PRECISION * low)
        if settled.all():
            break
    return inverse
