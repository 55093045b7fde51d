"""Where results lie below a reports folder: what ran here in <name>/, what is kept in reference/<name>/."""

from collections.abc import Sequence
from pathlib import Path

from emobench.errors import UserError, unknown_name
from emobench.layout import REFERENCE

NEEDED = "configs.csv"


def benchmarks(folder: Path) -> dict[str, Path]:
    """From name to folder: what ran here, then as reference/<name> what is kept of benchmarks that did not; sorted."""
    here, kept = _with_results(folder), _with_results(folder / REFERENCE)
    return here | {f"{REFERENCE}/{name}": path for name, path in kept.items() if name not in here}


def chosen(folder: Path, names: Sequence[str] = ()) -> dict[str, Path]:
    """The benchmarks of these names, or all: a bare name is what ran here, else the reference.

    Raises:
        UserError: no benchmark, or an unknown name.
    """
    known = benchmarks(folder)
    if not known:
        raise UserError(f"no benchmark with results below {folder}; run dvc repro report")
    found = {}
    for name in sorted(set(names)) or known:
        label = name if name in known else f"{REFERENCE}/{name.removeprefix(f'{REFERENCE}/')}"
        path = known.get(label, folder / label)
        if not (path / NEEDED).is_file():
            raise unknown_name("benchmark", name, known)
        found[label] = path
    return found


def _with_results(folder: Path) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{NEEDED}"))}
