"""Strict settings: pydantic dataclasses whose mistakes are told in one line, with section, key and what was expected.

Every key is known, present, of its type and in range: the classes have no defaults. Nothing is converted but whole
numbers, which may stand as floats (DVC writes ``1000.0``) where integers are wanted, and integers where floats are.
"""

import dataclasses
import re
import typing
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import PydanticKnownError

from emobench.errors import UserError, unknown_name

Settings = TypeVar("Settings")
if TYPE_CHECKING:
    # The type checker knows the fields, dataclasses.replace and asdict of the standard library's own decorator only.
    from dataclasses import dataclass as settings
else:
    settings = pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
    """Decorator of a section's class."""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Str = Annotated[str, Strict()]
Bool = Annotated[bool, Strict()]
MOST = 2**63 - 1
"""The largest integer that torch and NumPy take, as a seed or as a count."""
Int = Annotated[int, Strict(), BeforeValidator(_whole), Field(le=MOST)]
MOST_FLOAT = 1e30
"""The largest floating-point number: what is multiplied with it still fits into single precision, as torch computes."""
Float = Annotated[float, Strict(), Field(ge=-MOST_FLOAT, le=MOST_FLOAT)]


def within(low: float | None = None, high: float | None = None) -> Any:
    """What annotates a number (``Int`` or ``Float``) that has to be in [low, high]."""
    return Field(ge=low, le=high)


BEYOND = {"beyond": True}


def count(low: int, beyond: int) -> Any:
    """What annotates an integer (``Int``) from ``low`` on, of which ``beyond`` would take all memory or time there is.

    That bound is told only to who goes past it.
    """
    return Field(ge=low, le=beyond, json_schema_extra=dict(BEYOND))


OWN = "FILE.py:FUNCTION"
_OWN = re.compile(r"[^:]+\.py:[^\W\d]\w*")


def named(*names: str) -> Any:
    """What annotates a text (``Str``) that is one of these names, or a function of the user's as OWN."""

    def check(value: str) -> str:
        if value in names or _OWN.fullmatch(value):
            return value
        raise PydanticKnownError("literal_error", {"expected": ", ".join(f"'{name}'" for name in (*names, OWN))})

    return AfterValidator(check)


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
        return typing.cast(Settings, _adapter(typing.cast(Any, kind)).validate_python(values))
    except ValidationError as error:
        raise Mistakes(mistakes(error, kind)) from None


@cache
def _adapter(kind: Any) -> TypeAdapter:
    return TypeAdapter(kind)


def mistakes(error: ValidationError, kind: type) -> list[str]:
    """Every mistake as a line; keys that one section lacks share theirs."""
    lines: list[str] = []
    lacking: dict[str, list[str]] = defaultdict(list)
    placed = [(one, *_place(one["loc"], kind)) for one in error.errors(include_url=False)]
    kinds: dict[str, set[str]] = defaultdict(set)
    for one, where, *_ in placed:
        kinds[where].add(one["type"])
    for one, where, section, hint in placed:
        # Where a word or something else is wanted, pydantic tells of both: what was given says which one was meant.
        word, text = one["type"] == "literal_error", isinstance(one["input"], str)
        deeper = any(other.startswith((f"{where}.", f"{where}[")) for other in kinds)
        if "literal_error" in kinds[where] and (len(kinds[where]) > 1 or deeper) and word is not text:
            continue
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
        members: list[Any] = [one for one in typing.get_args(plain) if dataclasses.is_dataclass(one)]
        if isinstance(item, int):
            lists = [one for one in (plain, *map(_plain, typing.get_args(plain))) if typing.get_origin(one) is list]
            text, hint = f"{text}[{item}]", typing.get_args(lists[0])[0] if lists else Any
        elif members:
            hint = section = next((one for one in members if item in _tags(one)), members[0])
        elif isinstance(plain, type) and dataclasses.is_dataclass(plain):
            text, section = f"{text}.{item}".lstrip("."), plain
            hint = typing.get_type_hints(plain, include_extras=True).get(item, Any)
        elif typing.get_origin(plain) is dict:
            text, hint = f"{text}.{item}", typing.get_args(plain)[1]
    return text, section, hint


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
        return str(unknown_name(f"value for {where}:", value, [one or "''" for one in known]))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        known = [tag for one in typing.get_args(_plain(hint)) for tag in _tags(one)]
        if not isinstance(value, dict):
            return f"{where} is {value!r}; expected a mapping of keys"
        if kind == "union_tag_not_found":
            return f"{where} lacks source; known: {', '.join(known)}"
        return str(unknown_name(f"value for {where}.source:", value.get("source"), known))
    if kind in ("greater_than_equal", "less_than_equal", "finite_number"):
        bounds = _range(hint, 0 if kind == "finite_number" else value)
        open_ended = kind == "finite_number" and bounds.endswith(" to inf")
        wanted = f"a finite number from {bounds.removesuffix(' to inf')}" if open_ended else bounds
        return f"{where} is {value}; expected {wanted}"
    expected = _NAMES.get(_plain(hint)) or (
        "a list" if kind == "list_type" or typing.get_origin(_plain(hint)) is list else "a mapping of keys"
    )
    typed = " (write 0.001, or 1.0e-3)" if expected == "float" and isinstance(value, str) else ""
    return f"{where} is {value!r}; expected {expected}{typed}"


_NAMES = {str: "str", bool: "bool", int: "int", float: "float"}


def _range(hint: Any, value: Any) -> str:
    """The range of an annotated number: ``0 to 1``, or ``2 to inf``."""
    bounds: dict[str, float] = {}
    beyond = any(getattr(one, "json_schema_extra", None) == BEYOND for one in getattr(hint, "__metadata__", ()))
    for one in getattr(hint, "__metadata__", ()):
        for constraint in [one, *getattr(one, "metadata", ())]:
            bounds |= {name: getattr(constraint, name) for name in ("ge", "le") if hasattr(constraint, name)}
    high = bounds.get("le")
    unsaid = high is None or ((beyond or high in (MOST, MOST_FLOAT)) and value <= high)
    low = bounds.get("ge", -MOST_FLOAT)
    return f"{'-inf' if low == -MOST_FLOAT and value >= low else low} to {'inf' if unsaid else high}"
