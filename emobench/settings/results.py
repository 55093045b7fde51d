"""Settings of the comparison with the baseline, of the pages and of what is logged."""

from emobench.schema import Bool, count, real, settings


@settings
class Compare:
    """Statistics of the comparison with the baseline."""

    bootstrap_draws: count(100, 10**7)
    confidence: real(0.5, 0.999)


@settings
class Report:
    """How much the report shows."""

    top_units: count(1, 10**4)
    top_images: count(1, 1000)


@settings
class Track:
    """What is logged to MLflow beside numbers."""

    pictures: Bool
