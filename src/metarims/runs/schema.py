"""Validation of parsed JSON against types."""

from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from metarims.errors import UserError, format_value

LARGEST = 2**63
"""Exclusive limit of the magnitude of integers."""


def check_schema(value: Any, form: Any, where: str) -> None:
    """Raise ``UserError`` for the first part of ``value`` that is not of type ``form``; ``where``: its name.

    ``form`` consists of str, int, float, None, list[X], dict[str, X], tuple[X, Y] (a list of that length), X | Y, Any
    and ``TypedDict`` (further fields are ignored). Integers must be below ``LARGEST``; text has no lone surrogates.
    """
    kind, parts = get_origin(form), get_args(form)
    if is_typeddict(form):
        if not isinstance(value, dict):
            raise UserError(f"{where} is {format_value(value)}: it must be {_name(dict)}.")
        for name, part in get_type_hints(form).items():
            if name in value:
                check_schema(value[name], part, f"{where}.{name}")
            elif name in form.__required_keys__:
                raise UserError(f"{where} has no {name}.")
    elif kind is UnionType:
        fitting = [part for part in parts if _is(value, dict if is_typeddict(part) else get_origin(part) or part)]
        if not fitting:
            raise UserError(f"{where} is {format_value(value)}: it must be {' or '.join(map(_name, parts))}.")
        check_schema(value, fitting[0], where)
    elif form is not Any and not _is(value, kind or form):
        raise UserError(f"{where} is {format_value(value)}: it must be {_name(kind or form)}.")
    elif kind is list:
        for index, item in enumerate(value):
            check_schema(item, parts[0], f"{where}[{index}]")
    elif kind is dict:
        for name, item in value.items():
            check_schema(name, parts[0], f"a name in {where}")
            check_schema(item, parts[1], f"{where}.{name}")
    elif kind is tuple:
        if len(value) != len(parts):
            raise UserError(f"{where} has {len(value)} entries: it must have {len(parts)}.")
        for index, (item, part) in enumerate(zip(value, parts, strict=True)):
            check_schema(item, part, f"{where}[{index}]")


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int):
        return kind in (int, float) and abs(value) < LARGEST
    if isinstance(value, str) and not value.isascii():
        return kind is str and not any("\ud800" <= mark <= "\udfff" for mark in value)
    return isinstance(value, list if kind is tuple else kind)


def _name(kind: Any) -> str:
    names = {float: "a number", int: "a whole number", str: "text", list: "a list", tuple: "a list", dict: "an object"}
    kind = dict if is_typeddict(kind) else get_origin(kind) or kind
    return "null" if kind is NoneType else names.get(kind, str(kind))
