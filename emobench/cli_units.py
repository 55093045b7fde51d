"""The command that sets the units of two networks side by side."""

import click


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--concept-set", "concepts", metavar="NAME", help="Whose descriptions; without, the one edits go by.")
@click.option("--similarity-fn", "function", metavar="NAME", help="By which score; without, the one edits go by.")
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="Only these layers.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="Only the N concepts that changed most.")
@click.option("--format", "form", type=click.Choice(["table", "md", "csv", "json"]), default="table", show_default=True)
def units(
    before: str, after: str, concepts: str | None, function: str | None, layers: tuple[str, ...], top: int | None,
    form: str,
) -> None:  # fmt: skip
    """Tell which concepts the units of network B gained or lost against those of A.

    A and B are benchmarks that were dissected here, or copies of their units.parquet, of the same or of different
    networks: a network and its retraining, say. Counted are the units that are significantly described by a concept
    (dissect.fdr), the largest change first; p is Fisher's exact test of the two shares, corrected by Holm over the
    concepts.
    """
    from pathlib import Path

    from emobench.comparison.units import changes, text, units_of

    both = units_of(before, Path()), units_of(after, Path())
    found = changes(*both, concepts=concepts, function=function, layers=layers)
    click.echo(text(found, before, after, form, top=top))
