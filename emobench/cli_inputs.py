"""The commands that bring a benchmark's inputs and try them: use, layers, validate."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from emobench.errors import UserError

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
PATH = click.Path(path_type=Path)


def say(values: Any, lines: Sequence[str], as_json: bool) -> None:
    """Prints values for a program, or lines for people."""
    click.echo(json.dumps(values, indent=2) if as_json else "\n".join(lines))


def found(folder: Path, pattern: str, more: Iterable[str] = ()) -> Callable:
    """Completes an argument by what lies in a folder, and by other words."""

    def complete(ctx: click.Context, parameter: click.Parameter, text: str) -> list[str]:
        names = {path.relative_to(folder).parts[0].removesuffix(".yaml") for path in folder.glob(pattern)}
        return sorted(name for name in names | set(more) if name.startswith(text))

    return complete


def _pairs(ctx: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE, the value read as YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        try:
            values[key] = YAML(typ="safe", pure=True).load(value)
        except YAMLError:
            equals = ""
        if not equals or not key:
            raise click.BadParameter(f"{text!r}; expected KEY=VALUE, such as depth=4 or size=[64, 64]")
    return values


def _words(ctx: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


@click.command()
@click.argument(
    "preset", shell_complete=found(Path(__file__).parent / "presets", "*.yaml", ("jaffe", "kdef", "rafdb", "table"))
)
@click.option("--archive", type=PATH, help="Images: a zip, a csv, or a folder.")
@click.option("--network", metavar="ARCH", default="", help="vggnet, deep_emotion, torchvision/NAME, timm/NAME, "
              "FILE.py:FUNCTION or FILE.pt2.")  # fmt: skip
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", callback=_pairs, help="For its builder.")
@click.option("--weights", type=PATH, help="Weights of the network to dissect; without, it is trained here.")
@click.option("--classes", default="", metavar="A,B,...", callback=_words, help="Names of the network's outputs, in "
              "their order; of numbered labels too.")  # fmt: skip
@click.option("--picture", multiple=True, metavar="KEY=VALUE", callback=_pairs, help="What the network takes, where it "
              "differs: channels, size, range, mean, std, interpolation, crop.")  # fmt: skip
@click.option("--output", default="", metavar="KEY", help="Which of several outputs holds the logits.")
@click.option("--layers", default="", metavar="GLOB,...", callback=_words, help="Layers to record; all without.")
@click.option("--size", type=click.IntRange(16, 1024), help="Side of the stored pictures.")
@click.option("--channels", type=click.Choice(["1", "3"]), help="Of the stored pictures: 1 for grey, 3 for RGB.")
@click.option("--annotations", type=PATH, help="Landmark model (.task), or a table of concepts.")
@click.option("--concepts", type=PATH, multiple=True, help="File of concepts, .txt or .csv (concept,classes).")
@click.option("--clip", type=PATH, help="Image-text model: weights, OpenAI's archive, or a folder as on the hub.")
@click.option("--clip-model", default="", metavar="NAME", help="open_clip's name for it, where the file doesn't say.")
@click.option("--name", default="", help="Of the benchmark; without, of the images or the preset.")
@click.option("--sha256", default="", help="Of a .pt2 file that you trust: loading one can run code.")
@click.option("--force", is_flag=True, help="Replace a params.yaml that was edited; a copy is kept as params.yaml.bak.")
@click.option("--trust", is_flag=True, help="Trust a .pt2 file whatever its sha256, which is written down.")
@JSON
def use(preset: str, as_json: bool, channels: str | None, **given: Any) -> None:
    """Write params.yaml from a PRESET and put the raw input under DVC.

    demo draws its faces; fer2013 and paper need FER2013; folder, table, rafdb, jaffe and kdef take your own, with any
    network. A file mine.yaml is a preset too: complete, or with `extends: demo` and only what differs. Everything is
    looked at before anything is replaced; a params.yaml that was edited is replaced with --force only.
    """
    from emobench.inputs.use import use_preset
    from emobench.params import load_params

    lines = use_preset(preset, Path(), channels=int(channels) if channels else None, **given)
    say({"benchmark": load_params().name, "preset": preset, "messages": lines}, lines, as_json)


@click.command()
@JSON
def layers(as_json: bool) -> None:
    """List the layers of the network in params.yaml: units, cost, and how edits of them are evaluated."""
    from emobench.inputs.listing import asked_card, layer_lines, layer_rows
    from emobench.params import load_params

    card = asked_card(load_params(), Path())
    say(layer_rows(card), layer_lines(card), as_json)


@click.command()
@click.option("--machine", is_flag=True, help="Tell what this machine has and what each missing part switches off.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def validate(machine: bool, form: str, as_json: bool) -> None:
    """Try one batch through everything in params.yaml: images, network, classes, image-text model, concepts.

    Every mistake that is found is told, each on a line of its own; then the exit code is 1.
    """
    as_json = as_json or form == "json"
    if machine:
        from emobench.doctor import examine, told

        seen = examine(Path())
        return say(seen, told(seen), as_json)
    from emobench.params import load_params
    from emobench.schema import Mistakes

    try:
        params = load_params()
    except UserError as error:
        lines = error.lines if isinstance(error, Mistakes) else [str(error)]
        return _told({"benchmark": None, "source": None}, [], lines, as_json)
    from emobench.inputs.checking import try_inputs

    findings = try_inputs(params, Path())
    known = {"benchmark": params.name, "source": params.data.source} | findings.figures
    _told(known, findings.said, findings.mistakes, as_json)


def _told(known: dict[str, Any], said: list[str], mistakes: list[str], as_json: bool) -> None:
    """Prints what validate found; every mistake is a line on standard error, and the exit code is 1."""
    if not mistakes and not as_json:
        said = [*said, f"params.yaml is fine: benchmark {known['benchmark']!r}, {known['source']} images"]
    say({**known, "valid": not mistakes, "messages": said, "mistakes": mistakes}, said, as_json)
    for line in mistakes:
        click.echo(f"emobench: {line}", err=True)
    if mistakes:
        raise SystemExit(1)
