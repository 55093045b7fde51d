"""The one exception that users see: a mistake of theirs, told in one line."""

from collections.abc import Iterable


class UserError(Exception):
    """Something the user gave is wrong. The command line prints it as one line and exits with code 1.

    The message names what was given, what was expected and, for names, the valid ones.
    """


def unknown_name(kind: str, name: object, known: Iterable[object]) -> UserError:
    """Builds the error for a name that is not in a list of known names.

    >>> str(unknown_name("layer", "conv9", ["conv1a", "lin2"]))
    "unknown layer 'conv9'; known: conv1a, lin2"
    """
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(map(str, known))}")
