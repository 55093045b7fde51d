"""The command line. Nothing heavy is imported before a command runs, so that ``--help`` answers at once.

Exit codes: 0 fine, 1 a mistake of the user's (one line on standard error), 2 wrong usage (click's own), 3 a regression
(``diff`` found an accuracy that fell by more than luck explains).
"""

import errno
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class

from emobench import __version__
from emobench import costs as stage_costs
from emobench.errors import UserError
from emobench.layout import Layout
from emobench.params import load_params
from emobench.progress import working

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


class OneLineErrors(click.Group):
    """Turns mistakes of the user's, a full disk and an interrupt into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            message = str(error)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                raise
            where = f": {error.filename}" if error.filename else ""
            message = f"can't write, {error.strerror.lower()}{where}; nothing half-written was kept"
        except KeyboardInterrupt:
            message = "interrupted; run it again to go on"
        click.echo(f"emobench: {' '.join(message.split())}", err=True)
        raise SystemExit(1)


EPILOG = """Exit codes: 0 fine, 1 a mistake of yours (told in one line), 2 wrong usage, 3 a regression found by diff.

Completion of commands, presets and benchmarks: eval "$(emobench completion bash)" in ~/.bashrc; also zsh and fish.
"""
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _form(*names: str) -> Callable:
    """The option --format."""
    return click.option("--format", "form", type=click.Choice(names), default=names[0], show_default=True)


def _found(folder: Path, pattern: str) -> Callable:
    """Completes an argument by what lies in a folder."""

    def complete(ctx: click.Context, parameter: click.Parameter, text: str) -> list[str]:
        names = (path.relative_to(folder).parts[0].removesuffix(".yaml") for path in folder.glob(pattern))
        return sorted(name for name in names if name.startswith(text))

    return complete


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

    @click.command(name, help=text)
    def command() -> None:
        params = load_params()
        layout = Layout(params.name)
        with stage_costs.measured(layout, name), working(name):
            importlib.import_module(f"emobench.stages.{name}").run(params, layout)

    return command


for _name, _text in STAGES.items():
    main.add_command(_stage_command(_name, _text))


@main.command()
@click.argument("preset", shell_complete=_found(Path(__file__).parent / "presets", "*.yaml"))
@click.option("--archive", type=click.Path(path_type=Path), help="Images: the zip, the csv, or an extracted folder.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights of the network to dissect.")
@click.option("--annotations", type=click.Path(path_type=Path), help="Landmark model (.task), or a table of concepts.")
@JSON
def use(preset: str, as_json: bool, **inputs: Path | None) -> None:
    """Write params.yaml from a PRESET and put the raw input under DVC."""
    from emobench.inputs import use_preset

    lines = use_preset(preset, Path(), **inputs)
    _say({"benchmark": load_params().name, "preset": preset, "messages": lines}, lines, as_json)


@main.command()
@click.option("--machine", is_flag=True, help="Tell what this machine has and what each missing part switches off.")
@JSON
def validate(machine: bool, as_json: bool) -> None:
    """Check params.yaml and the inputs it names, without any work."""
    from emobench.doctor import examine, told
    from emobench.inputs import check_inputs

    if machine:
        found = examine(Path())
        return _say(found, told(found), as_json)
    params = load_params()
    check_inputs(params, Path())
    found = {"benchmark": params.name, "source": params.data.source, "valid": True}
    _say(found, [f"params.yaml is fine: benchmark {params.name!r}, {params.data.source} images"], as_json)


@main.command()
@_form("csv", "table")
@JSON
def costs(form: str, as_json: bool) -> None:
    """Print seconds and peak memory of each stage's latest run here, and on what, as csv, table or JSON."""
    rows = stage_costs.latest(Layout(load_params().name))
    _say(rows, stage_costs.lines(rows, form), as_json)


@main.command()
@JSON
def where(as_json: bool) -> None:
    """Tell where the report of the benchmark in params.yaml is, and how to open the MLflow UI."""
    layout = Layout(load_params().name)
    pages = {"report": layout.reports, "report with top images": layout.artifacts / "report"}
    files = {name: (folder / "index.html").resolve() for name, folder in pages.items()}
    found = {name: str(page) if page.is_file() else None for name, page in files.items()}
    lines = [f"{name + ':':24} {page or 'not written yet; run dvc repro'}" for name, page in found.items()]
    lines.append(f"{'MLflow UI:':24} make ui, then open http://127.0.0.1:5000")
    _say({"benchmark": layout.name, **{name.replace(" ", "_"): found[name] for name in found}}, lines, as_json)


def _say(values: Any, lines: Sequence[str], as_json: bool) -> None:
    """Prints values for a program, or lines for people."""
    click.echo(json.dumps(values, indent=2) if as_json else "\n".join(lines))


@main.command()
@click.argument("names", nargs=-1, shell_complete=_found(Path("reports"), "*/configs.csv"))
@_form("table", "csv", "md", "json")
@click.option("--sort", default="accuracy", show_default=True, metavar="METRIC", help="What to sort by, best first.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="How many rows at most.")
@click.option("--images", default="test", show_default=True, help="Image set: test, test_noleaks, val_test or val.")
def leaderboard(names: tuple[str, ...], form: str, sort: str, top: int | None, images: str) -> None:
    """Rank the baselines and judged edits of all benchmarks below reports/, or of those in NAMES.

    Points are the difference in accuracy from the benchmark's baseline, in hundredths, with the interval of that
    difference; p is corrected by Holm for the edits tested. Random controls are left out.
    """
    from emobench.comparison.leaderboard import leaderboard, text

    click.echo(text(*leaderboard(Path("reports"), names, sort=sort, images=images, top=top), form))


@main.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--metric", "patterns", multiple=True, metavar="NAME", help="Which metrics; * stands for any letters.")
@_form("table", "md", "json")
@click.option("--level", type=click.FloatRange(0, 1, True, True), default=0.05, show_default=True, help="Of the tests.")
def diff(before: str, after: str, patterns: tuple[str, ...], form: str, level: float) -> None:
    """Tell what moved from A to B, and exit with code 3 if an accuracy got worse by more than luck explains.

    A and B are report folders (reports/demo), git revisions (HEAD~1), or MLflow runs (an id, or runs:/ID). Where the
    predictions of both on the same images are at hand, the test is McNemar's, image by image, and intervals are paired
    bootstrap ones; elsewhere the accuracies are tested as independent proportions. Without --metric these are compared
    on test: accuracy, balanced accuracy, macro F1, NLL and ECE of the baseline, the chosen and the paper's edit.
    """
    from emobench.comparison.diff import compare, source

    found = compare(source(before, Path()), source(after, Path()), patterns=patterns, level=level)
    click.echo(found.text(form))
    if found.regression:
        raise SystemExit(3)


@main.command()
@click.argument("config_id")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--no-check", is_flag=True, help="Don't compare the written network's answers with predictions.npy.")
def export(config_id: str, path: Path, no_check: bool) -> None:
    """Write an edited network's weights to PATH (.safetensors).

    CONFIG_ID is any of configs.parquet, or baseline, chosen (the edit best on val) or paper (the published one).
    """
    from emobench.edits.exporting import export_network

    params = load_params()
    done = export_network(params, Layout(params.name), config_id, path, check=not no_check)
    ties = f" but for {done.near_ties} near ties" if done.near_ties else ""
    checked = f"answers all {done.images:,} val and test images as predicted{ties}" if done.images else "not checked"
    click.echo(f"{path}: {done.config_id} ({done.layer}); {checked}")


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes emobench's commands in a SHELL.

    bash: eval "$(emobench completion bash)" in ~/.bashrc; zsh the same in ~/.zshrc; fish: emobench completion fish >
    ~/.config/fish/completions/emobench.fish
    """
    click.echo(get_completion_class(shell)(main, {}, "emobench", "_EMOBENCH_COMPLETE").source())


@main.command()
@click.option("--port", default=5000, show_default=True, help="Port on the loopback address.")
def ui(port: int) -> None:
    """Open the MLflow UI on the benchmark's store, bound to the loopback address."""
    from emobench.tracking.tracker import store_uri

    arguments = ["ui", "--backend-store-uri", store_uri(Path()), "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *arguments])


if __name__ == "__main__":
    main()
