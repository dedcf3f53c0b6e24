"""The one kind of error that a user can mend: a sentence naming the field, the value and the remedy."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. The command line prints the sentence and exits with code 2."""


def unknown_name(kind: str, name: str, known: Iterable[str], listed_by: str = "") -> UserError:
    """``UserError`` for a name that is not among ``known``, with the nearest ones; ``listed_by`` shows them all."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    everything = f"{listed_by} lists all {len(known)}." if listed_by else f"Known: {', '.join(sorted(known))}."
    hint = f"Did you mean {' or '.join(near)}?" if near else everything
    return UserError(f"Unknown {kind} '{name}'. {hint}")
