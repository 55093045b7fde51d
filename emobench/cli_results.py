"""The commands that compare results and keep them: diff, reference, offline-plots."""

from collections.abc import Callable
from pathlib import Path

import click

from emobench.errors import UserError


def form_option(*names: str) -> Callable:
    """The option --format."""
    return click.option("--format", "form", type=click.Choice(names), default=names[0], show_default=True)


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="[B]", default="")
@click.option("--metric", "patterns", multiple=True, metavar="NAME", help="Which metrics; * stands for any letters.")
@form_option("table", "md", "json")
@click.option("--level", type=click.FloatRange(0, 1, True, True), default=0.05, show_default=True, help="Of the tests.")
def diff(before: str, after: str, patterns: tuple[str, ...], form: str, level: float) -> None:
    """Tell what moved from A to B, and exit with code 3 if an accuracy got worse by more than luck explains.

    Usual metrics that A has and B lacks are an error, exit code 1.

    A and B are report folders (reports/demo), git revisions (HEAD~1), or MLflow runs (an id, or runs:/ID). Where the
    predictions of both on the same images are at hand, the test is McNemar's, image by image, and intervals are paired
    bootstrap ones; elsewhere the accuracies are tested as independent proportions. Without --metric these are compared
    on test: accuracy, balanced accuracy, macro F1, NLL and ECE of the baseline, the chosen and the paper's edit.

    `emobench diff reference [NAME]` holds what ran here against the committed reference of that benchmark (without
    NAME, the one in params.yaml), and exits with code 3 if anything differs that matters: settings, counts, verdicts,
    and accuracies or shares of units that moved by more than luck explains. Other digits don't: processors differ.
    """
    if before == "reference" and not patterns and not Path(before).exists():
        return _against_reference(after, form, level)
    if not after:
        raise click.UsageError("Missing argument 'B': what to compare A with.")
    from emobench.comparison.diff import compare, lost_in_words, source

    compared = compare(source(before, Path()), source(after, Path()), patterns=patterns, level=level)
    click.echo(compared.text(form))
    if compared.regression:
        raise SystemExit(3)
    if compared.lost:
        raise UserError(lost_in_words(compared))


def _against_reference(name: str, form: str, level: float) -> None:
    from emobench.comparison.against_reference import differences
    from emobench.params import load_params

    found = differences(name or load_params().name, level=level)
    click.echo(found.text(form))
    if found.matters:
        raise SystemExit(3)


@click.command()
@click.option("--pages/--tables", default=True, help="With pages and figures, or tables alone.", show_default=True)
def reference(pages: bool) -> None:
    """Keep the finished run of the benchmark in params.yaml as its reference, which git holds.

    reports/reference/NAME/ becomes a copy of reports/NAME/ with params.yaml, dvc.lock, what each stage cost, and
    provenance.json: commit, machine, releases and the digest of every file. Refused unless dvc repro has nothing to do.
    """
    from emobench.comparison.keeping import keep
    from emobench.params import load_params

    click.echo(f"{keep(load_params(), pages=pages)}: commit it")


@click.command("offline-plots")
def offline_plots() -> None:
    """Write the page that `dvc plots show` fills, with its scripts, so that it draws without a network.

    `make setup` does it once: .dvc/plots_page.html, named in .dvc/config.local.
    """
    from emobench.comparison.plots_page import install

    click.echo(f"{install(Path())}: dvc plots show fills it")
