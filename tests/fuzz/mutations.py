"""Spoiling good input: bytes, JSON values and texts, changed in ways in which files and people go wrong."""

import json
from random import Random
from typing import Any

ODD_NUMBERS = (0, -1, 1, 2, 3, 7, 127, 255, 2**31 - 1, 2**31, 2**63, 10**18, 10**40, 10**400, -(10**400))
ODD_FLOATS = (0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), float("-inf"))
ODD_TEXTS = (
    "",
    "x",
    "../../etc/passwd",
    "..",
    "/",
    "a\nb",
    "a\x00b",
    "\x1b[31mred",
    "\u202e\u2028",
    "\ud800",
    "[/x]",
    "$\\x$",
    "<script>",
    "\N{SNOWMAN}",
    "os:system",
    "null",
    "x" * 5000,
)
ODD_VALUES = (*ODD_NUMBERS, *ODD_FLOATS, *ODD_TEXTS, None, True, False, [], {}, [[]], [None], {"x": 1}, [0] * 300)
RAW_JSON = (b"[" * 2000, b'{"a":' * 2000, b"1" * 5000, b"NaN", b"{}", b"[]", b"null", b'"', b"\xff\xfe{\x00}\x00", b"")
OTHER_FILES = (
    b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",  # a pickle
    b"cos\nsystem\n(S'true'\ntR.",
    b"PK\x03\x04" + b"\x00" * 60,
    b"\x1f\x8b\x08" + b"\x00" * 20,
    b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }" + b" " * 60 + b"\n",
    b"#!/bin/sh\ntrue\n",
    b"<html></html>",
    b"\x00" * 4096,
)


def spoil_bytes(data: bytes, random: Random) -> bytes:
    """Up to four changes: flipped bits, cuts, repeats, insertions, or another file altogether."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        data = _spoil_once(data, random)
    return data


def _spoil_once(data: bytes, random: Random) -> bytes:
    at, end = sorted(random.randrange(len(data) + 1) for _ in range(2))
    kind = random.choice(("flip", "flip", "flip", "cut", "drop", "repeat", "insert", "zero", "other"))
    if kind == "flip" and data:
        at = random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
    if kind == "cut":
        return data[:at]
    if kind == "drop":
        return data[:at] + data[end:]
    if kind == "repeat":
        return data[:end] + data[at:]
    if kind == "insert":
        return data[:at] + random.randbytes(random.choice((1, 2, 8, 100))) + data[at:]
    if kind == "zero":
        return data[:at] + bytes(end - at) + data[end:]
    return random.choice(OTHER_FILES + RAW_JSON) if random.random() < 0.2 else data


def spoil_json(value: Any, random: Random) -> Any:
    """A copy of a JSON value with one to three of its parts changed, renamed, dropped, added or nested."""
    value = json.loads(json.dumps(value))
    for _ in range(random.choice((1, 1, 2, 3))):
        value = _spoil_part(value, random)
    return value


def _spoil_part(value: Any, random: Random) -> Any:
    """Go down to a random depth, and change what is there."""
    if isinstance(value, dict) and value:
        name = random.choice(list(value))
        kind = random.choice(("down", "down", "down", "down", "drop", "rename", "add"))
        if kind == "down":
            return value | {name: _spoil_part(value[name], random)}
        if kind == "add":
            return value | {random.choice(ODD_TEXTS): random.choice(ODD_VALUES)}
        rest = {other: held for other, held in value.items() if other != name}
        return rest if kind == "drop" else rest | {spoil_text(name, random): value[name]}
    if isinstance(value, list) and value and random.random() < 0.7:
        at = random.randrange(len(value))
        kind = random.choice(("down", "down", "drop", "twice"))
        if kind == "down":
            return [*value[:at], _spoil_part(value[at], random), *value[at + 1 :]]
        return value[:at] + value[at + 1 :] if kind == "drop" else [*value, value[at]]
    return _other(value, random)


def spoil_leaves(value: Any, random: Random) -> Any:
    """A copy of a JSON value of the same form, with one to three of its texts and numbers replaced."""
    for _ in range(random.choice((1, 2, 3))):
        value = _spoil_leaf(value, random)
    return value


def _spoil_leaf(value: Any, random: Random) -> Any:
    if isinstance(value, dict) and value:
        name = random.choice(list(value))
        return value | {name: _spoil_leaf(value[name], random)}
    if isinstance(value, list) and value:
        at = random.randrange(len(value))
        return [*value[:at], _spoil_leaf(value[at], random), *value[at + 1 :]]
    if isinstance(value, str):
        return random.choice((spoil_text(value, random), random.choice(ODD_TEXTS)))
    if isinstance(value, float):
        return random.choice(ODD_FLOATS)
    return random.choice(ODD_NUMBERS[:-3]) if isinstance(value, int) else value


def _other(value: Any, random: Random) -> Any:
    kind = random.choice(("odd", "odd", "near", "near", "text", "deep"))
    if kind == "near" and isinstance(value, (int, float)) and abs(value) < 10**300:
        return random.choice((-value, value + 1, value - 1, value * 2, value * 1.5, value / 3, value * 10**9))
    if kind == "near" and isinstance(value, str):
        return spoil_text(value, random)
    if kind == "text":
        return str(value)
    if kind == "deep":
        for _ in range(random.choice((1, 3, 100, 250))):
            value = [value] if random.random() < 0.5 else {"x": value}
        return value
    return random.choice(ODD_VALUES)


def spoil_text(text: str, random: Random) -> str:
    """One to three characters dropped, doubled, replaced or added."""
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(len(text) + 1)
        extra = random.choice(
            ("", "", text[at : at + 1] * 2, chr(random.randrange(1, 0x250)), random.choice(ODD_TEXTS))
        )
        text = text[:at] + extra + text[at + 1 :]
    return text


def json_bytes(value: Any, random: Random) -> bytes:
    """A JSON value as a file: mostly as it should be, sometimes indented, in another encoding, or spoiled."""
    text = json.dumps(value, indent=random.choice((None, 2)), ensure_ascii=random.random() < 0.7)
    encoding = random.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16", "latin-1"))
    data = text.encode(encoding, errors="replace")
    if random.random() < 0.15:
        data = spoil_bytes(data, random)
    return random.choice(RAW_JSON) if random.random() < 0.02 else data
