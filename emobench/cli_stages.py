"""What the help of a stage says of its inputs, outputs and params: read from dvc.yaml, so that it is as DVC has it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

CODE = "emobench"
"""What stands first in the path of a module's file, which a stage's help leaves out."""
HEADS = {"params": "Params", "deps": "Reads", "outs": "Writes"}


class StageCommand(click.Command):
    """A stage, whose help ends in what dvc.yaml says of it."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes params, inputs and outputs, where there is a dvc.yaml here or beside the package."""
        for head, names in described(self.name or "").items():
            with formatter.section(head):
                for name in names:
                    formatter.write_text(name)


def described(stage: str) -> dict[str, list[str]]:
    """Params, inputs and outputs of a stage, from the dvc.yaml of this folder, else of the repository; without, none.

    ``${name}`` is shown as <name>, and a path that params choose by its key.
    """
    import yaml

    found = next((path for path in (Path("dvc.yaml"), Path(__file__).parents[1] / "dvc.yaml") if path.is_file()), None)
    try:
        content = yaml.safe_load(found.read_text(encoding="utf-8"))["stages"][stage] if found else {}
        outs = [one for key in ("outs", "metrics", "plots") for one in _names(content.get(key, []))]
        deps = [name for name in _names(content.get("deps", [])) if Path(name).parts[0] != CODE]
        parts = {"params": _names(content.get("params", [])), "deps": deps, "outs": outs}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, OSError, UnicodeDecodeError):
        # Somebody else's or a broken dvc.yaml: dvc says what is wrong with it; the help is still wanted.
        return {}
    return {HEADS[key]: [_readable(name) for name in dict.fromkeys(names)] for key, names in parts.items() if names}


def _names(entries: Iterable[str | Mapping[str, Any]]) -> list[str]:
    """Entries of dvc.yaml are names, or mappings from a name to what else is said of it."""
    return [name for one in entries for name in ([one] if isinstance(one, str) else one)]


def _readable(name: str) -> str:
    return name.replace("${name}", "<name>").replace("${", "<params: ").replace("}", ">")
