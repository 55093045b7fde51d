"""The command that puts one question to several benchmarks."""

from pathlib import Path

import click

from emobench.cli_inputs import JSON, PATH, say


@click.command()
@click.argument("file", type=PATH)
@JSON
def study(file: Path, as_json: bool) -> None:
    """Answer one question from the reports of several benchmarks, as the study in FILE asks.

    Writes reports/study/<name>/: the difference on each benchmark with its interval, pooled ones by random effects, a
    forest plot, and how far the claim holds: confirmed in all, in some, rejected or open. The study's contract is
    written before any report is read.
    """
    from emobench.comparison.study import load_study, run_study

    answer = run_study(load_study(file), Path("reports"))
    say({**answer.claim, "benchmarks": answer.benchmarks, "pools": answer.pools}, answer.lines, as_json)
