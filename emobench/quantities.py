"""The ranges of measured quantities, by their names: an accuracy is no 7.5, in whatever table or report it stands."""

import re
from functools import cache
from typing import Any


class WrongError(ValueError):
    """A file could be read, but is not what it should be."""


SHARE, SIGNED, POSITIVE = (0.0, 1.0), (-1.0, 1.0), (0.0, float("inf"))
RANGES: tuple[tuple[re.Pattern[str], tuple[float, float]], ...] = tuple(
    (re.compile(pattern), bounds)
    for pattern, bounds in {
        r"(delta|ci_low|ci_high)_(accuracy|balanced_accuracy|macro_f1|recall_.*|ece|ece_t)": SIGNED,
        r"delta_(?!nll|brier).*": SIGNED,
        r"(delta|ci_low|ci_high)_.*": (-float("inf"), float("inf")),
        r"(.*_)?(accuracy|balanced_accuracy|macro_f1|f1|iou|auprc|top1|top2|top3)(_random|_described|_best|_constant)?"
        r"|(.*_)?ece(_t)?|recall_.*|(.*_)?(mcnemar_p|holm_p|control_p|null_p|q_value|chance|label_accuracy)": SHARE,
        r"(.*_)?(prop_\w+|overall_acc|interp_acc|uninterp_acc|auroc|random_p95|agreement|stability(_noise)?)": SHARE,
        r"(.*_)?(pearson|cosine)": SIGNED,
        r"(.*_)?(nll|nll_t|train_loss|val_loss|temperature|factor|brier|brier_t|lift)": POSITIVE,
        r"(.*_)?(gains|losses|control_draws|rows_differing|n_up|n_down|images|units|num_\w+|own_class|evaluated|total)"
        r"|limit|limited|concepts|emotions|epoch|seed|unit|label|positive|removed|leaks": POSITIVE,
        r"control_percentile": (0.0, 100.0),
    }.items()
)
"""Bounds of the quantities whose name fits, the first that does."""
INFINITE = re.compile(r"(.*_)?(similarity|runner_up|margin|effect|lift|null_median|null_p95)")
"""Numbers that may be infinite: a score that is undefined for a concept, and what is divided by it."""
SLACK = 1e-5
"""Sums of rounded numbers, and csv files with six digits."""


@cache
def bounds_of(name: str) -> tuple[float, float] | None:
    """The range of a quantity by its name; None if nothing is known."""
    return next((bounds for pattern, bounds in RANGES if pattern.fullmatch(name)), None)


def check_range(name: str, values: Any, bounds: tuple[float, float] | None = None) -> None:
    """Raises WrongError where a number is infinite or out of its range, else that of its name; NaN is no number."""
    import numpy as np

    numbers = np.asarray(values, dtype=float)
    if not INFINITE.fullmatch(name) and np.isinf(numbers).any():
        raise WrongError(f"{name} has an infinite value")
    low, high = bounds or bounds_of(name) or (-np.inf, np.inf)
    with np.errstate(invalid="ignore"):
        wrong = numbers[(numbers < low - SLACK) | (numbers > high + SLACK)]
    if wrong.size:
        raise WrongError(f"{name} is {wrong[0]:.6g}; expected {low:g} to {high:g}")
