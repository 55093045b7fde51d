"""A preset of one's own that names only what differs from another: ``extends: demo``."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emobench.errors import UserError, unknown_name

KEY = "extends"


def extended(path: Path, read: Callable[[Path], Any], presets: Path, seen: Sequence[Path] = ()) -> Any:
    """The values of a preset, with those that it extends below them.

    Mappings are joined key by key, everything else is replaced. A section with another ``source`` than in the preset
    below has other keys, so that it is replaced as a whole.

    Args:
        path: the preset's file. Without a ``name`` of its own it is called as the file is.
        read: gives the values of a file.
        presets: where the built-in ones lie.
        seen: files that extend this one.

    Raises:
        UserError: no such preset, or one that extends itself.
    """
    values = read(path)
    if path.resolve() in seen:
        raise UserError(f"{path} extends itself, through {', '.join(one.name for one in seen)}")
    if not isinstance(values, Mapping) or KEY not in values:
        return values
    name = values[KEY]
    if not isinstance(name, str):
        raise UserError(f"{path}: {KEY} is {name!r}; expected the name of a preset, or a .yaml file")
    own = name.endswith((".yaml", ".yml"))
    base = path.parent / name if own else presets / f"{name}.yaml"
    if not base.is_file():
        known = sorted(one.stem for one in presets.glob("*.yaml"))
        raise unknown_name(f"preset in {KEY} of {path}:", name, [*known, "or a .yaml file beside it"])
    below = extended(base, read, presets, (*seen, path.resolve()))
    if not isinstance(below, Mapping):
        raise UserError(f"{base}, which {path} extends, is {below!r:.100}; expected a mapping of keys")
    differing = {key: value for key, value in values.items() if key != KEY}
    return joined(below, {"name": path.stem} | differing)


def joined(below: Any, above: Mapping[str, Any]) -> Any:
    """Values with others over them; ``below`` is changed, and keeps its comments.

    >>> joined({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3}, "d": [4, 5]})
    {'a': {'b': 3, 'c': 2}, 'd': [4, 5]}
    """
    for key, value in above.items():
        inner = below.get(key)
        mapped = isinstance(value, Mapping) and isinstance(inner, Mapping)
        if mapped and value.get("source", inner.get("source")) == inner.get("source"):
            joined(inner, value)
        else:
            below[key] = value
    return below
