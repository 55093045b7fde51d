"""Strict settings: pydantic dataclasses whose mistakes are told in one line, with section, key and what was expected.

Every key is known, present, of its type and in range: the classes have no defaults. Nothing is converted but whole
numbers, which may stand as floats (DVC writes ``1000.0``) where integers are wanted, and integers where floats are.
"""

import dataclasses
import re
import types
import typing
from collections import defaultdict
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from emobench.errors import UserError, unknown_name

Settings = TypeVar("Settings")
settings = dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
"""Decorator of a section's class."""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Str = Annotated[str, Strict()]
Bool = Annotated[bool, Strict()]
Int = Annotated[int, Strict(), BeforeValidator(_whole)]
Float = Annotated[float, Strict()]
MOST = 2**63 - 1
"""The largest integer that torch and NumPy take, as a seed or as a count."""


def integer(low: int, high: int = MOST) -> Any:
    """The type of an integer in [low, high]."""
    return Annotated[Int, Field(ge=low, le=high)]


class _Beyond:
    """Marks a bound that is beyond all reason: it is told only to who goes past it."""


def count(low: int, beyond: int) -> Any:
    """The type of an integer from ``low``, of which ``beyond`` would take all memory or time there is."""
    return Annotated[Int, Field(ge=low, le=beyond), _Beyond]


def real(low: float | None = None, high: float | None = None) -> Any:
    """The type of a finite number in [low, high]."""
    return Annotated[Float, Field(ge=low, le=high)]


class Mistakes(UserError):
    """Several mistakes, a line each; as one line it is the first, and how many there are."""

    def __init__(self, lines: list[str]) -> None:
        more = f" (and {len(lines) - 1} more: emobench validate lists all)" if len(lines) > 1 else ""
        super().__init__(f"params: {lines[0]}{more}")
        self.lines = [f"params: {line}" for line in lines]


def parse(kind: type[Settings], values: Any) -> Settings:
    """Turns a mapping into ``kind``, strictly.

    Raises:
        Mistakes: each with its section and key.
    """
    try:
        return _adapter(kind).validate_python(values)
    except ValidationError as error:
        raise Mistakes(mistakes(error, kind)) from None


@cache
def _adapter(kind: type) -> TypeAdapter:
    return TypeAdapter(kind)


def mistakes(error: ValidationError, kind: type) -> list[str]:
    """Every mistake as a line; keys that one section lacks share theirs."""
    lines: list[str] = []
    lacking: dict[str, list[str]] = defaultdict(list)
    found = error.errors(include_url=False)
    # Of a union of a word and something else, the other member says more.
    whole = [one for one in found if one["type"] == "literal_error" and str(one["loc"][-1]).startswith("literal[")]
    others = {one["loc"][:-1] for one in whole}
    for one in found:
        if one in whole and any(
            other not in whole and other["loc"][: len(one["loc"]) - 1] in others for other in found
        ):
            continue
        where, section, hint = _place(one["loc"], kind)
        if one["type"] != "missing":
            lines.append(_line(one, where, section, hint))
            continue
        place, _, key = where.rpartition(".")
        if place not in lacking:
            lines.append(place)
        lacking[place].append(key)
    return [f"{line or 'top level'} lacks {', '.join(lacking[line])}" if line in lacking else line for line in lines]


def _place(loc: tuple, kind: type) -> tuple[str, type, Any]:
    """A mistake's place as text, the section (class) that it is in, and the type wanted there.

    The names of a union's members, which pydantic has among the places, are no part of the text.
    """
    text, section, hint = "", kind, kind
    for item in loc:
        plain = _plain(hint)
        members = [one for one in typing.get_args(plain) if dataclasses.is_dataclass(one)]
        if isinstance(item, int):
            text, (hint, *_) = f"{text}[{item}]", typing.get_args(plain) or (Any,)
        elif typing.get_origin(plain) in (typing.Union, types.UnionType) and not members:
            hint = next((one for one in typing.get_args(plain) if str(item).startswith(_name(one))), plain)
        elif members:
            hint = section = next((one for one in members if item in _tags(one)), members[0])
        elif dataclasses.is_dataclass(plain):
            text, section = f"{text}.{item}".lstrip("."), plain
            hint = typing.get_type_hints(plain, include_extras=True).get(item, Any)
        elif typing.get_origin(plain) is dict:
            text, hint = f"{text}.{item}", typing.get_args(plain)[1]
    return text, section, hint


def _name(hint: Any) -> str:
    """What pydantic calls a member of a union without a tag: ``list[str]``, ``literal['auto']``, or a class's name."""
    origin = typing.get_origin(_plain(hint))
    return "literal" if origin is typing.Literal else getattr(origin or hint, "__name__", "?")


def _plain(hint: Any) -> Any:
    """A type without its annotations."""
    return _plain(typing.get_args(hint)[0]) if typing.get_origin(hint) is Annotated else hint


def _tags(kind: type) -> tuple:
    """The names under which a union knows this member."""
    return typing.get_args(_plain(typing.get_type_hints(kind).get("source")))


def _line(mistake: Any, where: str, section: type, hint: Any) -> str:
    """One mistake in words."""
    kind, value, context = mistake["type"], mistake["input"], mistake.get("ctx", {})
    where = where or "top level"
    if kind == "unexpected_keyword_argument":
        place, _, key = where.rpartition(".")
        return str(
            unknown_name(f"key in {place or 'top level'}:", key, [one.name for one in dataclasses.fields(section)])
        )
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"]) or context["expected"].split(" or ")
        return str(unknown_name(f"value for {where}:", value, known))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        known = [tag for one in typing.get_args(_plain(hint)) for tag in _tags(one)]
        if not isinstance(value, dict):
            return f"{where} is {value!r}; expected a mapping of keys"
        if kind == "union_tag_not_found":
            return f"{where} lacks source; known: {', '.join(known)}"
        return str(unknown_name(f"value for {where}.source:", value.get("source"), known))
    if kind in ("greater_than_equal", "less_than_equal", "finite_number"):
        return f"{where} is {value}; expected {_range(hint, value)}"
    expected = _NAMES.get(_plain(hint)) or (
        "a list" if typing.get_origin(_plain(hint)) is list else "a mapping of keys"
    )
    typed = " (write 0.001, or 1.0e-3)" if expected == "float" and isinstance(value, str) else ""
    return f"{where} is {value!r}; expected {expected}{typed}"


_NAMES = {str: "str", bool: "bool", int: "int", float: "float"}


def _range(hint: Any, value: Any) -> str:
    """The range of an annotated number: ``0 to 1``, or ``2 to inf``."""
    bounds: dict[str, float] = {}
    beyond = _Beyond in getattr(hint, "__metadata__", ())
    for one in getattr(hint, "__metadata__", ()):
        for constraint in [one, *getattr(one, "metadata", ())]:
            bounds |= {name: getattr(constraint, name) for name in ("ge", "le") if hasattr(constraint, name)}
    high = bounds.get("le")
    unsaid = high is None or ((beyond or high == MOST) and value <= high)
    return f"{bounds.get('ge', '-inf')} to {'inf' if unsaid else high}"
