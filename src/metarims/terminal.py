"""Where tables and progress are printed."""

import os
import sys

from rich.console import Console


class Terminal(Console):
    """A console that survives a closed pipe, as after ``metarims train | head``."""

    def on_broken_pipe(self) -> None:
        """Print nothing more; training continues."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
