"""Temperature scaling (Guo et al., 2017, arXiv:1706.04599, section 4.2): one number that divides all logits."""

import math

from torch import Tensor

REACH = 1000.0


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature T that minimises the NLL of softmax(logits / T).

    The NLL is convex in 1/T, so the minimum is the only one. It is searched up to a factor of 1000 around the
    spread of the logits: where every answer is right (T to 0) or worse than chance (T to infinity) there is none,
    and a temperature is returned that differs from the best NLL by rounding, or the end of the search.
    Logits multiplied by c give c times the temperature.

    Args:
        logits: (images, classes).
        labels: (images,) integers.

    Returns:
        T > 0. 1 where all logits of each image are equal: no temperature changes anything.

    Raises:
        ValueError: NaN or infinite logits, no image, or shapes that don't fit.

    >>> import torch
    >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
    >>> round(2 / fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 6) == round(math.log(3), 6)
    True
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)}; expected (n, classes), (n,), n > 0"
        )
    if not logits.isfinite().all():
        raise ValueError("logits hold NaN or infinity; the network's weights or its inputs are broken")
    # One class a row, so that the sums over classes run along memory; relative to the label's logit.
    margins = logits.double().T.contiguous()
    margins -= margins.gather(0, labels.long().unsqueeze(0))
    spread = float(margins.square().mean().sqrt())
    if spread == 0:
        return 1.0

    def nll(log_temperature: float) -> float:
        return float((margins * (math.exp(-log_temperature) / spread)).logsumexp(0).mean())

    reach = math.log(REACH)
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(nll, bounds=(-reach, reach), method="bounded", options={"xatol": 1e-9})
    return math.exp(found.x) * spread
