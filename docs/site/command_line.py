"""The reference of the command line, from click's commands."""

import inspect

import click

from emobench import __version__
from emobench.cli import EPILOG, STAGES, main

HEAD = """# Command line

Every command of emobench {version}, as `emobench COMMAND --help` tells it. The commands of the stages take no options:
they read `params.yaml` in the working directory, and `dvc repro` runs all of them in their order.
"""


def page() -> str:
    """All commands as Markdown, the stages last."""
    context = click.Context(main, info_name="emobench")
    others = [name for name in main.list_commands(context) if name not in STAGES]
    parts = [HEAD.format(version=__version__), *(_command(name, context) for name in others), "## Stages\n"]
    parts += [f"`emobench {name}`\n:   {text}\n" for name, text in STAGES.items()]
    return "\n".join([*parts, "## Exit codes\n", EPILOG.replace("Completion of", "\nCompletion of")])


def _command(name: str, above: click.Context) -> str:
    """One command: what it is for, its usage, arguments and options."""
    command = main.get_command(above, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=above)
    said = inspect.cleandoc((command.help or "").replace("\b", ""))
    usage = " ".join(["emobench", name, *command.collect_usage_pieces(context)])
    parts = [f"## emobench {name} {{: #{name} }}\n", said + "\n", f"```\n{usage}\n```\n"]
    rows = [record for one in command.get_params(context) if (record := one.get_help_record(context))]
    if rows:
        parts.append("| option | what it does |\n|---|---|")
        parts.append("\n".join(f"| `{_cell(option)}` | {_cell(text)} |" for option, text in rows) + "\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    """A text that fits into a table's cell."""
    return text.replace("|", "\\|").replace("\n", " ")
