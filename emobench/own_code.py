"""A user's own function, named ``FILE.py:FUNCTION`` in params: loaded from its file, and its mistakes told from there.

For networks (``network.architecture``), selection strategies and score functions.
"""

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emobench.errors import UserError
from emobench.settings.network import file_of

SHOWN = 3
"""Lines of the user's file that a traceback names, the innermost ones."""


def short_name(text: str) -> str:
    """What a choice is called in tables: FUNCTION of ``FILE.py:FUNCTION``, else the name itself.

    >>> short_name("mine/select.py:stable"), short_name("fdr")
    ('stable', 'fdr')
    """
    return file_of(text)[1] or text


def own_function(text: str, *, lines: int = SHOWN) -> Callable[..., Any]:
    """The function of ``FILE.py:FUNCTION``; the file is run anew. ``lines``: see telling.

    Raises:
        UserError: no such file or function, or the file raises.
    """
    file, name = file_of(text)
    path = Path(file)
    if not path.is_file():
        raise UserError(f"no file {path}; expected FILE.py:FUNCTION, as seen from the benchmark's folder")
    with telling(text, lines=lines):
        function = getattr(_module(path), name, None)
    if not callable(function):
        raise UserError(f"{path} has no function {name!r}")
    return function


@contextmanager
def telling(text: str, *, lines: int = SHOWN) -> Iterator[None]:
    """Tells what the block raises by the lines of the user's file that led there, so many of the innermost.

    Raises:
        UserError: in place of any other exception.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(shortened(Path(file_of(text)[0]), error, lines)) from error


def shortened(path: Path, error: Exception, shown: int) -> str:
    """Where in the user's file it happened, the innermost line last, and what."""
    said = next(iter(str(error).splitlines()), "")
    if isinstance(error, SyntaxError):
        return f"{path}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    frames = [
        one for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).resolve() == path.resolve()
    ]
    lines = [f"line {one.lineno}, in {one.name}: {one.line}" for one in frames[-shown:]]
    where = f", {' > '.join(lines)}" if lines else ""
    return f"{path}{where}: {type(error).__name__}: {said}"


def _module(path: Path) -> Any:
    name = f"emobench_own_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise UserError(f"{path} can't be read as a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module
