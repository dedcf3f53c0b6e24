"""The error that users can fix: its message names the field, the value and the remedy."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

MAX_LENGTH = 2000
"""Characters of a message; a longer one is cut in the middle."""


class UserError(Exception):
    """Invalid input. The command line prints the message and exits with code 2.

    Messages may quote untrusted files: control characters are escaped, so a message is one line and cannot steer a
    terminal.
    """

    def __init__(self, message: str, *, field: str = "", value: Any = None):
        """``field``: the setting, flag, argument or file at fault, by the name that users give it; ``value``: its
        value. Both also stand in ``message``."""
        super().__init__(one_line(message))
        self.field, self.value = field, value


def invalid(field: str, value: Any, remedy: str) -> UserError:
    """``UserError`` with the message "FIELD is VALUE: REMEDY." """
    return UserError(f"{field} is {format_value(value)}: {remedy}.", field=field, value=value)


def unknown_name(kind: str, name: str, known: Iterable[str], listed_by: str = "") -> UserError:
    """``UserError`` for a name that is not in ``known``, with the nearest names; ``listed_by``: what lists all."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    everything = f"{listed_by} lists them all." if listed_by else f"Known: {', '.join(sorted(known))}."
    hints = [f"Did you mean {' or '.join(near)}?"] * bool(near) + [everything] * bool(listed_by or not near)
    return UserError(f"Unknown {kind} '{name}'. {' '.join(hints)}", field=kind, value=name)


def format_value(value: Any) -> str:
    """A value as Python writes it, shortened however long or nested it is."""
    return _SHORT.repr(value)


def one_line(text: str) -> str:
    """Any text as one printable line of at most ``MAX_LENGTH`` characters (plus escapes)."""
    if len(text) > MAX_LENGTH:
        text = f"{text[: MAX_LENGTH // 2]} ... {text[-MAX_LENGTH // 2 :]}"
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
