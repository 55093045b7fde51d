"""Settings of the comparison with the baseline, of the pages and of what is logged."""

from typing import Annotated

from emobench.schema import Bool, Float, Int, count, settings, within

CROSS_FITTED = "cross_fitted"
"""Name, arm and protocol of what was chosen and judged by folds of val and test."""


@settings
class CrossFitting:
    """Choosing and judging on val and test together (see emobench.edits.cross_fitted).

    Attributes:
        folds: how many; below 2 it is not done.
        draws: of signs, for its p-value.
    """

    folds: Annotated[Int, count(0, 1000)]
    draws: Annotated[Int, count(100, 10**7)]


@settings
class Compare:
    """Statistics of the comparison with the baseline.

    Attributes:
        bootstrap_draws: resamples of the images for the intervals.
        confidence: coverage of the intervals.
        cross_fitting: choosing and judging by folds of val and test together.
    """

    bootstrap_draws: Annotated[Int, count(100, 10**7)]
    confidence: Annotated[Float, within(0.5, 0.999)]
    cross_fitting: CrossFitting


@settings
class Report:
    """How much the report shows.

    Attributes:
        top_units: units a layer that the page shows.
        top_images: most activating images shown of a unit.
    """

    top_units: Annotated[Int, count(1, 10**4)]
    top_images: Annotated[Int, count(1, 1000)]


@settings
class Track:
    """What is logged to MLflow beside numbers.

    Attributes:
        pictures: whether confusion matrices are logged as pictures too.
    """

    pictures: Bool
