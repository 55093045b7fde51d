"""The command line. Nothing heavy is imported before a command runs, so that ``--help`` answers at once.

Exit codes: 0 fine, 1 a mistake of the user's (one line on standard error), 2 wrong usage (click's own).
"""

import errno
import importlib
import os
import sys
from pathlib import Path

import click

from emobench import __version__
from emobench.costs import latest, measured
from emobench.errors import UserError
from emobench.layout import Layout
from emobench.params import load_params

STAGES = {
    "prepare": "Read or draw the images, audit them, write the image set.",
    "annotate": "Measure the facial concepts on every image.",
    "baseline": "Train the network, or take given weights, and measure it.",
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


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="emobench")
def main() -> None:
    """Benchmark of what the units of a facial-emotion network react to, and whether strengthening them helps.

    `dvc repro` runs all stages in order; each is also a command here. They read params.yaml in this folder.
    """
    # Nothing phones home. setdefault: what the user has set stays.
    for name, value in {
        "DVC_NO_ANALYTICS": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
    }.items():
        os.environ.setdefault(name, value)


def _stage_command(name: str, text: str) -> click.Command:
    """A command that runs one stage on params.yaml."""

    @click.command(name, help=text)
    def command() -> None:
        params = load_params()
        layout = Layout(params.name)
        with measured(layout, name):
            importlib.import_module(f"emobench.stages.{name}").run(params, layout)

    return command


for _name, _text in STAGES.items():
    main.add_command(_stage_command(_name, _text))


@main.command()
@click.argument("preset")
@click.option("--archive", type=click.Path(path_type=Path), help="Images: the zip, the csv, or an extracted folder.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights of the network to dissect.")
@click.option("--annotations", type=click.Path(path_type=Path), help="Landmark model (.task), or a table of concepts.")
def use(preset: str, archive: Path | None, weights: Path | None, annotations: Path | None) -> None:
    """Write params.yaml from a PRESET and put the raw input under DVC."""
    from emobench.inputs import use_preset

    for line in use_preset(preset, Path(), archive=archive, weights=weights, annotations=annotations):
        click.echo(line)


@main.command()
def validate() -> None:
    """Check params.yaml and the inputs it names, without any work."""
    from emobench.inputs import check_inputs

    params = load_params()
    check_inputs(params, Path())
    click.echo(f"params.yaml is fine: benchmark {params.name!r}, {params.data.source} images")


@main.command()
def costs() -> None:
    """Print seconds and peak memory of each stage's latest run here, as csv."""
    click.echo("stage,seconds,peak_memory_mib")
    for row in latest(Layout(load_params().name)):
        click.echo(f"{row['stage']},{row['seconds']},{row['peak_memory_mib']}")


@main.command()
def where() -> None:
    """Tell where the report of the benchmark in params.yaml is, and how to open the MLflow UI."""
    layout = Layout(load_params().name)
    pages = [layout.reports / "index.html", layout.artifacts / "report" / "index.html"]
    for text, page in zip(("report:", "report with top images:"), pages, strict=True):
        click.echo(f"{text:24} {page.resolve() if page.is_file() else 'not written yet; run dvc repro'}")
    click.echo(f"{'MLflow UI:':24} make ui, then open http://127.0.0.1:5000")


@main.command()
@click.option("--port", default=5000, show_default=True, help="Port on the loopback address.")
def ui(port: int) -> None:
    """Open the MLflow UI on the benchmark's store, bound to the loopback address."""
    from emobench.reporting.mlflow_log import store_uri

    arguments = ["ui", "--backend-store-uri", store_uri(Path()), "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *arguments])


if __name__ == "__main__":
    main()
