"""The label order trap: outputs named in the wrong order look like a weak network, and must not be taken for one."""

from collections.abc import Sequence

from torch import Tensor

from emobench.errors import UserError
from emobench.functional.class_order import best_class_order

MIN_LIFT = 0.1
"""Cohen's kappa that another order has to gain. Swapping two of seven classes that a network knows costs more; an
honest network, however weak, gains next to nothing by a swap, since kappa takes away what class sizes give."""
MAX_CHANCE = 0.001
"""Probability, over all orders, of as many more right answers by luck."""


def check_class_order(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
    """Stops where another order of the classes fits a network's answers far better than the stated one.

    Args:
        logits: (images, classes), columns in the order of ``classes``.
        labels: (images,) places in ``classes``.
        classes: names in the stated order of the outputs.

    Raises:
        UserError: names both orders and their accuracies.
    """
    best = best_class_order(logits, labels)
    if best.kappa - best.given_kappa < MIN_LIFT or best.p_value > MAX_CHANCE:
        return
    order = [classes[place] for place in best.order]
    raise UserError(
        f"the classes seem to be in another order: {best.given_accuracy:.1%} of {len(labels)} answers are right if the "
        f"outputs are {', '.join(classes)}, but {best.accuracy:.1%} if they are {', '.join(order)}; state the order "
        "that the network was trained with"
    )
