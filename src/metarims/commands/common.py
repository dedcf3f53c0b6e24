"""What several commands do."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def program() -> str:
    """How this program is started: ``metarims``, or Python with a script that adds something and calls ``cli.main``."""
    script = Path(sys.argv[0])
    if script.suffix != ".py" or script.resolve() == (Path(__file__).parents[1] / "cli.py").resolve():
        return "metarims"
    return f"python {shlex.quote(str(script))}"


def file_name(env: str) -> str:
    """An id, or a mixture of several, as part of a file's name."""
    return re.sub(r"[^\w.+-]+", "-", env)


@contextmanager
def says(what: str) -> Iterator[Callable[[str], None]]:
    """On a terminal, say what is going on while it lasts; gives what says something else."""
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(what)) as status:
        yield lambda now: status.update(escape(now))


def begin_computing() -> None:
    """Make sure that JAX can compute here, in this process."""
    from metarims.runtime import check_devices

    check_devices()
    enable_cache()


def enable_cache() -> None:
    from metarims.runtime import enable_compile_cache

    problem = enable_compile_cache()
    if problem:
        print(f"Note: compiled programs are not kept for next time: {problem}.", file=sys.stderr)
