"""That ``emobench use`` loses no params.yaml that somebody edited: what would change is told, and a copy is kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emobench.contracts import flat
from emobench.errors import UserError
from emobench.files import replacing
from emobench.inputs.given import PRESETS

FILE, BACKUP = "params.yaml", "params.yaml.bak"
WRITTEN = Path("data/raw/.used_params.yaml")
"""What ``use`` wrote last; git ignores it."""
SHOWN = 12
"""Changes that are told one by one."""


def keep(root: Path, new: str, *, force: bool) -> list[str]:
    """Keeps the params.yaml at hand, if it was edited, before another takes its place.

    It counts as edited unless it has the values that ``use`` wrote last, or those of a built-in preset.

    Args:
        root: the repository.
        new: the text that will be written.
        force: an edited one may be replaced; a copy of it is kept.

    Returns:
        What is to be said.

    Raises:
        UserError: it is edited, and ``force`` is not given; the changes are named.
    """
    path = root / FILE
    if not path.is_file():
        return []
    before = path.read_bytes()
    old, values = _values(before), _values(new.encode())
    if old == values or values is None or _unedited(root, old):
        return []
    if not force:
        told = "; ".join(changes(old, values)) if old is not None else "it is no YAML now"
        raise UserError(
            f"{FILE} was edited, and this would change it: {told}. Nothing is written; --force replaces it, and "
            f"keeps a copy as {BACKUP}"
        )
    kept = _free(root)
    with replacing(kept) as temporary:
        temporary.write_bytes(before)
    return [f"the edited {FILE} is kept as {kept.name}"]


def note(root: Path, text: str) -> None:
    """Remembers what ``use`` wrote."""
    with replacing(root / WRITTEN) as temporary:
        temporary.write_text(text, encoding="utf-8")


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Key by key what would be another value, at most SHOWN.

    >>> changes({"seed": 0, "edit": {"jobs": 2}}, {"seed": 1, "edit": {}})
    ['seed is 0, would be 1', 'edit.jobs is 2, would be gone']
    """
    before, after = flat(old), flat(new)
    keys = [key for key in {**before, **after} if before.get(key, _GONE) != after.get(key, _GONE)]
    said = [f"{key} is {_shown(before, key)}, would be {_shown(after, key)}" for key in keys[:SHOWN]]
    return said + ([f"and {len(keys) - SHOWN} more"] if len(keys) > SHOWN else [])


_GONE = object()


def _shown(values: Mapping[str, Any], key: str) -> str:
    text = str(values[key]) if key in values else "gone"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unedited(root: Path, values: Any) -> bool:
    known = [path.read_bytes() for path in (root / WRITTEN, *PRESETS.glob("*.yaml")) if path.is_file()]
    return values is not None and any(_values(one) == values for one in known)


def _values(content: bytes) -> dict[str, Any] | None:
    """The values of a YAML text; None where it is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        values = YAML(typ="safe", pure=True).load(content.decode("utf-8"))
    except (YAMLError, RecursionError, ValueError, AttributeError, TypeError, LookupError):
        return None
    return values if isinstance(values, dict) else None


def _free(root: Path) -> Path:
    """Where a copy is kept: a name that no earlier copy has."""
    number, path = 1, root / BACKUP
    while path.exists():
        number += 1
        path = root / f"{BACKUP}{number}"
    return path
