"""Dataclasses of settings to and from JSON and Python values; a value of another type raises ``UserError``."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

from metarims.errors import UserError, format_value, invalid, unknown_name

LARGEST = 3e38
"""Numbers in settings must stay below: agents compute in float32."""


def to_json(config: Any) -> str:
    """A configuration as JSON text with every field."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def from_dict(kind: type, values: Any, where: str = "config") -> Any:
    """A configuration dataclass from parsed JSON; unknown, missing and mistyped fields raise ``UserError``."""
    if not isinstance(values, dict):
        raise UserError(
            f"{where} must be an object with fields, not {format_value(values)}.", field=where, value=values
        )
    narrow, names = getattr(kind, "narrow_types", None), [f.name for f in dataclasses.fields(kind)]
    hints = get_type_hints(kind) | (narrow(values) if narrow else {})
    for name in values:
        if name not in names:
            raise unknown_name(f"field in {where}", name, names)
    for f in dataclasses.fields(kind):
        if f.name not in values and f.default is f.default_factory is dataclasses.MISSING:
            name = f"{where}.{f.name}"
            raise UserError(f"{name} is missing, and it has no default: add it.", field=name)
    return kind(**{name: _convert(hints[name], value, f"{where}.{name}") for name, value in values.items()})


def coerce(hint: Any, value: Any, where: str) -> Any:
    """A value from Python as a file would hold it: numbers of NumPy and whole floats become plain numbers, sequences
    become tuples. A value of another type raises ``UserError``."""
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, hint):  # pyright: ignore[reportArgumentType]
            raise invalid(where, value, f"it must be a {hint.__name__}")  # pyright: ignore[reportAttributeAccessIssue]
        hints = get_type_hints(hint)
        names = [f.name for f in dataclasses.fields(hint)]  # pyright: ignore[reportArgumentType]
        coerced = {name: coerce(hints[name], getattr(value, name), f"{where}.{name}") for name in names}
        return dataclasses.replace(value, **coerced)
    if get_origin(hint) is tuple and isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return tuple(coerce(get_args(hint)[0], part, f"{where}[{index}]") for index, part in enumerate(value))
    number: Any = value if isinstance(value, Real) and not isinstance(value, int) else None
    if number is not None and hint is float:
        return float(number)
    if number is not None and hint is int and math.isfinite(number) and number == int(number):
        return int(number)
    return _convert(hint, value, where)


def require_positive(section: str, settings: Any, names: Sequence[str]) -> None:
    """Raise ``UserError`` unless these fields are greater than zero and finite."""
    for name, value in _named(section, settings, names):
        if not 0 < value < LARGEST:
            least = "1 or more" if isinstance(value, int) else "greater than zero"
            raise invalid(name, value, f"it must be {least}, and below 3e38")


def require_not_negative(section: str, settings: Any, names: Sequence[str]) -> None:
    """Raise ``UserError`` unless these fields are zero or more, and finite."""
    for name, value in _named(section, settings, names):
        if not 0 <= value < LARGEST:
            raise invalid(name, value, "it must be zero or more, and below 3e38")


def _named(section: str, settings: Any, names: Sequence[str]) -> list[tuple[str, Any]]:
    return [(f"{section}.{name}" if section else name, getattr(settings, name)) for name in names]


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, where)  # pyright: ignore[reportArgumentType]
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise invalid(where, value, f"it must be one of {', '.join(map(str, get_args(hint)))}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise invalid(where, value, "it must be a list")
        return tuple(_convert(get_args(hint)[0], part, f"{where}[{index}]") for index, part in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise invalid(where, value, "it must be below 1.8e308") from None
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise invalid(where, value, f"it must be of type {hint.__name__}")
    return value
