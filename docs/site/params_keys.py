"""The reference of params.yaml, from the settings' classes and the presets."""

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from emobench.params import Params
from emobench.schema import BEYOND, MOST

PRESETS = Path(__file__).parents[2] / "emobench" / "presets"
SHOWN = ("demo", "fer2013")
HEAD = """# params.yaml

Every key of `params.yaml`, from the classes that read it. All keys of the chosen source are needed, and no other is
taken: a key that is unknown, missing, of another type or out of range is told in one line by `emobench validate`,
before any work. The last columns are what the presets *demo* and *fer2013* say. Write 0.001, not 1e-3.
"""
NAMES = {str: "text", bool: "true or false", int: "integer", float: "number", Any: "any value"}


def page() -> str:
    """All sections as Markdown."""
    yaml = YAML(typ="safe", pure=True)
    presets = [yaml.load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8")) for name in SHOWN]
    return "\n".join([HEAD, *_section("", "All sections", Params, presets, set())])


def described(kind: type) -> dict[str, str]:
    """What the docstrings of a class and of those it is made from say of its keys under ``Attributes:``."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__[:-1]):
        section = inspect.cleandoc(one.__doc__ or "").partition("\nAttributes:\n")[2]
        entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8,}.*)*)", section, re.MULTILINE)
        found |= {name: " ".join(text.split()) for name, text in entries}
    return found


def _section(place: str, title: str, kind: type, presets: list[Any], seen: set[tuple[str, type]]) -> Iterator[str]:
    """A class's heading, what it says, a row a key, and then the classes below it, each once."""
    said, hints = described(kind), typing.get_type_hints(kind, include_extras=True)
    text = inspect.cleandoc(kind.__doc__ or "").partition("\nAttributes:\n")[0]
    yield f"## {title}\n\n{_code(text)}\n\n| key | what it is | values | {' | '.join(SHOWN)} |\n|---|---|---|---|---|"
    below = []
    for field in dataclasses.fields(kind):
        hint, where = hints[field.name], f"{place}.{field.name}".lstrip(".")
        values = [preset.get(field.name) if isinstance(preset, dict) else None for preset in presets]
        below += [(where, one, values) for one in _classes(hint)]
        fitting = [_of_source(value, preset, _sources(kind)) for value, preset in zip(values, presets, strict=True)]
        cells = [f"`{field.name}`", _code(said.get(field.name, "")), _kind(hint), *map(_value, fitting)]
        yield f"| {' | '.join(cells)} |"
    yield ""
    for where, one, values in below:
        if (where, one) not in seen:
            seen.add((where, one))
            sources = _sources(one)
            title = f"{where}, source {' or '.join(sources)}" if len(sources) else where
            yield from _section(where, title, one, values, seen)


def _of_source(value: Any, section: Any, sources: list[str]) -> Any:
    """A preset's value, if its section is of one of these sources."""
    return None if sources and not (isinstance(section, dict) and section.get("source") in sources) else value


def _code(text: str) -> str:
    """A docstring's code as Markdown's."""
    return text.replace("``", "`")


def _plain(hint: Any) -> Any:
    return _plain(typing.get_args(hint)[0]) if typing.get_origin(hint) is typing.Annotated else hint


def _classes(hint: Any) -> list[type]:
    """The settings' classes that a key may hold."""
    plain = _plain(hint)
    return [one for one in (plain, *map(_plain, typing.get_args(plain))) if dataclasses.is_dataclass(one)]


def _sources(kind: type) -> list[str]:
    return list(typing.get_args(_plain(typing.get_type_hints(kind).get("source"))))


def _kind(hint: Any) -> str:
    """A key's type and range in words."""
    plain, origin, members = _plain(hint), typing.get_origin(_plain(hint)), typing.get_args(_plain(hint))
    if _classes(hint):
        words = [word for one in members for word in typing.get_args(_plain(one)) if isinstance(word, str)]
        return " or ".join([*(f"`{word}`" for word in words), "a section, below"])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in members)
    if origin is list:
        return f"a list: {_kind(members[0])}"
    if origin is dict:
        return "keys and values"
    return " or ".join(map(_kind, members)) if members else f"{NAMES[plain]}{_range(hint)}"


def _range(hint: Any) -> str:
    bounds: dict[str, float] = {}
    marks = getattr(hint, "__metadata__", ())
    for one in marks:
        for constraint in [one, *getattr(one, "metadata", ())]:
            bounds |= {name: getattr(constraint, name) for name in ("ge", "le") if hasattr(constraint, name)}
    low, high = bounds.get("ge"), bounds.get("le")
    if high == MOST or any(getattr(one, "json_schema_extra", None) == BEYOND for one in marks):
        high = None
    if low is None and high is None:
        return ""
    if high is None:
        return f", from {low:g} on".replace("-", "−")
    return f", {low:g} to {high:g}".replace("-", "−")


def _value(value: Any) -> str:
    """What a preset says."""
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`" if value != "" else '`""`'
