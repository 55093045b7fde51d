"""The command line. Nothing heavy is imported before a command runs, so that ``--help`` answers at once.

Exit codes: 0 fine; 1 a mistake of the user's, a full disk, no memory left, or an interrupt (one line on standard error,
as always); 2 wrong usage (click's own); 3 a regression (``diff`` found an accuracy that fell by more than luck
explains, or what matters and is not as in the reference); 143 ended by SIGTERM. A mistake of emobench's own keeps its
traceback.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from emobench import __version__
from emobench import costs as stage_costs
from emobench.cli_inputs import JSON, found, layers, say, use, validate
from emobench.cli_results import diff, offline_plots, reference
from emobench.cli_results import form_option as _form
from emobench.cli_stages import StageCommand
from emobench.cli_studies import study
from emobench.cli_units import units
from emobench.errors import UserError
from emobench.failures import heeding_sigterm, reopen_streams, told
from emobench.layout import Layout
from emobench.process import check_addresses, end_workers, kept_for_good, settle
from emobench.progress import working

SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
STAGES = {
    "prepare": "Read or draw the images, audit them, write the image set.",
    "annotate": "Measure the facial concepts on every image.",
    "network": "Train the network, or take given weights, and measure it.",
    "clip": "Train the image-text model, or take a given one, and test it.",
    "embed": "Embed images and concepts.",
    "record": "Record every unit of every layer on every image.",
    "dissect": "Describe every unit by its best concept.",
    "edit": "Evaluate every edit of the grid.",
    "compare": "Compare the edits with the baseline, image by image.",
    "report": "Write tables, figures and the page.",
    "track": "Log everything to MLflow.",
}


@contextmanager
def one_line() -> Iterator[None]:
    """Turns whatever goes wrong in the block into one line and an exit code."""
    try:
        yield
        return
    except (click.exceptions.Exit, click.ClickException, click.Abort):
        raise
    except BaseException as error:
        message, code = told(error)
    with suppress(OSError, ValueError):  # where nobody listens, the exit code says it
        click.echo(f"emobench: {' '.join(message.split())}", err=True)
    _forget_output()
    raise SystemExit(code)


class OneLineErrors(click.Group):
    """Turns whatever goes wrong into one line and an exit code."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Reads the arguments, which prints where help is asked for."""
        reopen_streams()
        with one_line():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command."""
        with one_line(), heeding_sigterm():
            result = super().invoke(ctx)
            sys.stdout.flush()
        return result


def _forget_output() -> None:
    """Lets Python end without another try to write what standard output could not take."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


EPILOG = """Exit codes: 0 fine, 1 a mistake of yours (told in one line), 2 wrong usage, 3 a regression found by diff; 1
as well for a full disk, no memory left or an interrupt; 143 after SIGTERM.

Completion of commands, presets and benchmarks: eval "$(emobench completion bash)" in ~/.bashrc; also zsh and fish.
"""


@click.group(cls=OneLineErrors, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="emobench")
def main() -> None:
    """Benchmark of what the units of a facial-emotion network react to, and whether strengthening them helps.

    `dvc repro` runs all stages in order; each is also a command here. They read params.yaml in this folder.
    """
    # Nothing phones home. setdefault: what the user has set stays.
    quiet = ("DVC_NO_ANALYTICS", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY")
    for name in (*quiet, "HF_HUB_OFFLINE"):
        os.environ.setdefault(name, "true")


def _stage_command(name: str, text: str) -> click.Command:
    """A command that runs one stage on params.yaml."""

    @click.command(name, StageCommand, help=text)
    def command() -> None:
        check_addresses()
        settle()
        from emobench.params import load_params

        params = load_params()
        layout = Layout(params.name)
        with stage_costs.measured(layout, name), working(name):
            with kept_for_good():
                stage = importlib.import_module(f"emobench.stages.{name}")
            stage.run(params, layout)
            end_workers()

    return command


for _name, _text in STAGES.items():
    main.add_command(_stage_command(_name, _text))


for _command in (use, layers, validate, units, diff, reference, study, offline_plots):
    main.add_command(_command)


@main.command()
@click.option("--format", "form", type=click.Choice(["table", "csv"]), help="Without: table on a terminal, else csv.")
@JSON
def costs(form: str | None, as_json: bool) -> None:
    """Print seconds and peak memory of each stage's latest run here, and on what, as table, csv or JSON."""
    from emobench.params import load_params

    rows = stage_costs.latest(Layout(load_params().name))
    say(rows, stage_costs.lines(rows, form or ("table" if sys.stdout.isatty() else "csv")), as_json)


@main.command()
@JSON
def where(as_json: bool) -> None:
    """Tell where the report of the benchmark in params.yaml is, and how to open the MLflow UI."""
    from emobench.params import load_params

    layout = Layout(load_params().name)
    folders = {"report": layout.reports, "report with top images": layout.artifacts / "report"}
    files = {name: (folder / "index.html").resolve() for name, folder in folders.items()}
    pages = {name: str(page) if page.is_file() else None for name, page in files.items()}
    lines = [f"{name + ':':24} {page or 'not written yet; run dvc repro'}" for name, page in pages.items()]
    lines.append(f"{'MLflow UI:':24} make ui, then open http://127.0.0.1:5000")
    say({"benchmark": layout.name, **{name.replace(" ", "_"): page for name, page in pages.items()}}, lines, as_json)


@main.command()
@click.argument("names", nargs=-1, shell_complete=found(Path("reports"), "*/configs.csv"))
@_form("table", "csv", "md", "json", "latex")
@click.option("--sort", default="accuracy", show_default=True, metavar="METRIC", help="What to sort by, best first.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="How many rows at most.")
@click.option("--images", default="test", show_default=True, help="Image set: test, test_noleaks, val_test or val.")
def leaderboard(names: tuple[str, ...], form: str, sort: str, top: int | None, images: str) -> None:
    """Rank the baselines and judged edits of all benchmarks below reports/, or of those in NAMES.

    Points are the difference in accuracy from the benchmark's baseline, in hundredths, with the interval of that
    difference; p is corrected by Holm for the edits tested. Random controls are left out. The table fits 80 columns and
    names edits in short; csv and json have all columns and the config_id that export takes.
    """
    from emobench.comparison.leaderboard import leaderboard, text

    click.echo(text(*leaderboard(Path("reports"), names, sort=sort, images=images, top=top), form))


@main.command()
@click.argument("names", nargs=-1)
@_form("table", "md", "csv", "json")
def networks(names: tuple[str, ...], form: str) -> None:
    """Set the networks of all benchmarks below reports/, or of those in NAMES, side by side.

    One row a benchmark: accuracy on test, what of the edited layer can be read (units above tau, significant ones,
    held-out AUPRC beside that of random, best and an untrained network's descriptions), the paper's edit on val and
    test together and on test alone, and the verdicts.
    """
    from emobench.comparison.networks import networks, text

    click.echo(text(networks(Path("reports"), names), form))


@main.command()
@click.argument("config_id")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--no-check", is_flag=True, help="Don't compare the written network's answers with predictions.npy.")
def export(config_id: str, path: Path, no_check: bool) -> None:
    """Write an edited network's weights to PATH (.safetensors).

    CONFIG_ID is any of configs.parquet, or baseline, chosen (the edit best on val) or paper (the published one).
    """
    from emobench.edits.exporting import export_network
    from emobench.params import load_params

    params = load_params()
    done = export_network(params, Layout(params.name), config_id, path, check=not no_check)
    ties = f" but for {done.near_ties} near ties" if done.near_ties else ""
    checked = f"answers all {done.images:,} val and test images as predicted{ties}" if done.images else "not checked"
    click.echo(f"{path}: {done.config_id} ({done.layer}); {checked}")


@main.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print the script that completes emobench's commands in a SHELL.

    bash: eval "$(emobench completion bash)" in ~/.bashrc; zsh the same in ~/.zshrc; fish: emobench completion fish >
    ~/.config/fish/completions/emobench.fish
    """
    click.echo(SHELLS[shell](main, {}, "emobench", "_EMOBENCH_COMPLETE").source())


@main.command()
@click.option("--port", default=5000, show_default=True, help="Port on the loopback address.")
def ui(port: int) -> None:
    """Open the MLflow UI on the benchmark's store, bound to the loopback address."""
    from emobench.tracking.tracker import store_uri

    uri = store_uri(Path())
    if uri.startswith(("http://", "https://")):
        raise UserError(f"the store is a server with a UI of its own; open {uri} in a browser")
    # One person looks: four workers, and a fifth process for jobs, would each import MLflow before the first answer.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    arguments = ["ui", "--backend-store-uri", uri, "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *arguments])
