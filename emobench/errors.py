"""The one exception that users see: a mistake of theirs, told in one line."""

import difflib
from collections.abc import Iterable

NEAR = 0.75
"""How alike two names are at least for one to be meant by the other (a ratio of difflib's)."""


class UserError(Exception):
    """Something the user gave is wrong. The command line prints it as one line and exits with code 1.

    The message names what was given, what was expected and, for names, the valid ones.
    """


def unknown_name(kind: str, name: object, known: Iterable[object]) -> UserError:
    """Builds the error for a name that is not in a list of known names, with the one that was probably meant.

    >>> str(unknown_name("layer", "conv9", ["conv1a", "lin2"]))
    "unknown layer 'conv9'; known: conv1a, lin2"
    >>> str(unknown_name("layer", "lin22", ["conv1a", "lin2"]))
    "unknown layer 'lin22'; known: conv1a, lin2; did you mean lin2?"
    """
    names = list(map(str, known))
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(names)}{meant(name, names)}")


def meant(name: object, known: Iterable[str]) -> str:
    """``; did you mean ...?`` with the nearest name; empty where none is near.

    >>> meant("Smile", ["smile", "frown"])
    '; did you mean smile?'
    """
    folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(str(name).casefold(), folded, 1, NEAR)
    return f"; did you mean {folded[near[0]]}?" if near else ""
