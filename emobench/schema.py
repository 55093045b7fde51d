"""Strict reading of nested dataclasses from plain mappings: every key known, present, of its type and in range."""

import dataclasses
import types
import typing
from typing import Any

from emobench.errors import UserError, unknown_name


def number(low: float | None = None, high: float | None = None) -> Any:
    """A field whose value (or each value of its list) lies in [low, high]."""
    return dataclasses.field(metadata={"low": low, "high": high})


def choice(*values: str | int) -> Any:
    """A field whose value (or each value of its list) is one of ``values``."""
    return dataclasses.field(metadata={"choices": values})


def parse(kind: type, values: Any, where: str) -> Any:
    """Turns a mapping into the dataclass ``kind``, strictly. ``where`` is the section's name in messages."""
    section = where or "top level"
    if not isinstance(values, dict):
        raise UserError(f"params: {section} is {values!r}; expected a mapping of keys")
    fields = {item.name: item for item in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            raise unknown_name(f"params key in {section}:", key, fields)
    missing = [key for key in fields if key not in values]
    if missing:
        raise UserError(f"params: {section} lacks {', '.join(missing)}")
    prefix = f"{where}." if where else ""
    return kind(**{key: _value(hints[key], values[key], prefix + key, fields[key].metadata) for key in fields})


def _value(hint: Any, value: Any, where: str, metadata: Any) -> Any:
    """Checks one value against its type and range; sections are parsed on."""
    if dataclasses.is_dataclass(hint):
        return parse(hint, value, where)
    if isinstance(hint, types.GenericAlias):
        if not isinstance(value, list):
            raise UserError(f"params: {where} is {value!r}; expected a list")
        (inner,) = typing.get_args(hint)
        return [_value(inner, item, f"{where}[{position}]", metadata) for position, item in enumerate(value)]
    if hint is float and type(value) is int:
        value = float(value)
    if hint is int and type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not hint:
        raise UserError(f"params: {where} is {value!r}; expected {hint.__name__}")
    low, high = metadata.get("low"), metadata.get("high")
    # Written so that NaN fails: every comparison with NaN is false.
    if (low is not None and not value >= low) or (high is not None and not value <= high) or value != value:
        raise UserError(f"params: {where} is {value}; expected {low if low is not None else '-inf'} to {high or 'inf'}")
    if "choices" in metadata and value not in metadata["choices"]:
        raise unknown_name(f"value for params {where}:", value, metadata["choices"])
    return value
