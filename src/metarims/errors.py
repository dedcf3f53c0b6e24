"""The one kind of error that a user can mend: a sentence naming the field, the value and the remedy."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

LONGEST = 2000
"""Characters of a sentence; what quotes a value that is longer than that is cut in the middle."""


class UserError(Exception):
    """Bad input. The command line prints the sentence and exits with code 2.

    What it quotes may come from a stranger's file: control characters are escaped, so that it stays one line and
    cannot steer a terminal.
    """

    def __init__(self, message: str, *, field: str = "", value: Any = None):
        """``field``: the setting, flag, argument or file at fault, by the name that a user gives it; ``value``: what it
        is. Both also stand in ``message``."""
        super().__init__(one_line(message))
        self.field, self.value = field, value


def format_value(value: Any) -> str:
    """A value as a sentence quotes it: as Python writes it, but short, however long or deeply nested it is."""
    return _SHORT.repr(value)


def unknown_name(kind: str, name: str, known: Iterable[str], listed_by: str = "") -> UserError:
    """``UserError`` for a name that is not among ``known``, with the nearest ones; ``listed_by`` shows them all."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    everything = f"{listed_by} lists them all." if listed_by else f"Known: {', '.join(sorted(known))}."
    hints = [f"Did you mean {' or '.join(near)}?"] * bool(near) + [everything] * bool(listed_by or not near)
    return UserError(f"Unknown {kind} '{name}'. {' '.join(hints)}", field=kind, value=name)


def one_line(text: str) -> str:
    """A text that may hold anything as one line that can be printed, at most ``LONGEST`` characters and escapes."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
