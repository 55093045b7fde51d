"""The reference pages, made from the code at every build, so that they say what it does."""

import command_line
import params_keys
import public_names
import table_columns


def made() -> dict[str, str]:
    """Path below docs/ -> Markdown."""
    return {
        "reference/command-line.md": command_line.page(),
        "reference/params.md": params_keys.page(),
        "reference/tables.md": table_columns.page(),
        "reference/python.md": public_names.page(),
    }
