"""Where tables and progress are printed."""

import os
import sys

from rich.console import Console


class Terminal(Console):
    """A console that outlives its reader: one that reads through a pipe may leave, as ``head`` does after its lines."""

    def on_broken_pipe(self) -> None:
        """Say nothing more, and go on: training is worth more than its display."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
