"""Settings of the comparison with the baseline, of the pages and of what is logged."""

from typing import Annotated

from emobench.schema import Bool, Float, Int, settings, within


@settings
class Compare:
    """Statistics of the comparison with the baseline."""

    bootstrap_draws: Annotated[Int, within(100)]
    confidence: Annotated[Float, within(0.5, 0.999)]


@settings
class Report:
    """How much the report shows."""

    top_units: Annotated[Int, within(1)]
    top_images: Annotated[Int, within(1)]


@settings
class Track:
    """What is logged to MLflow beside numbers."""

    pictures: Bool
