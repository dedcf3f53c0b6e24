"""What several commands share."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tyro

from metarims.errors import UserError


def program() -> str:
    """How this program was started: ``metarims``, or Python with a script that calls ``cli.main``."""
    script = Path(sys.argv[0])
    if script.suffix != ".py" or script.resolve().parent == Path(__file__).resolve().parents[1]:
        return "metarims"
    return f"python {shlex.quote(str(script))}"


def flag(metavar: str, default: str = "") -> Any:
    """How help shows a flag: its value, and its default where that is computed."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})" if default else "")


def conflict(one: object, other: str, value: object) -> UserError:
    """The error for two arguments that exclude each other."""
    message = f"Both {one} and {other} {value} are given: remove one of them."
    return UserError(message, field=other, value=value)


def file_name(env: str) -> str:
    """An environment id or a mixture as part of a file name."""
    return re.sub(r"[^\w.+-]+", "-", env)


@contextmanager
def status(what: str) -> Iterator[Callable[[str], None]]:
    """Show on standard error what is running, on a terminal also for how long; yields a function that changes the
    text."""
    from rich.console import Console

    from metarims.runs.progress import Waiting

    waiting, console = Waiting(f"{what} ..."), Console(stderr=True)

    def show() -> None:
        if not console.is_terminal:
            print(waiting.what, file=sys.stderr, flush=True)

    def change(now: str) -> None:
        waiting.what = f"{now} ..."
        show()

    show()
    with console.status(waiting):
        yield change


def beside(paths: Sequence[Path], name: str) -> Path:
    """The default of an output file: in a run's folder, beside an agent's file, beside several runs, or in ``runs``
    with a pretrained agent's name."""
    first = paths[0]
    if not first.exists():
        return Path("runs") / f"{first}-{name}"
    folder = first if first.is_dir() else first.parent
    return (folder.parent if len(paths) > 1 else folder) / name


@contextmanager
def output(what: str, path: Path, hint: str) -> Iterator[None]:
    """Make the folder of an output file, and report it when it is written; ``hint`` follows its name."""
    from metarims.runs.files import writing

    with writing(what, path.parent, advice="Name another file with --out."):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    print(f"Wrote {path}{hint}")


def print_notes(env: str) -> None:
    """What one should know of native tasks before playing them."""
    from metarims.gridworld.registry import is_native, make

    if is_native(env):
        for level in make(env).sources:
            if level.note:
                print(f"Note: {level.note}", file=sys.stderr)


def prepare_jax() -> None:
    """Check that JAX has a device, and enable the compile cache."""
    with status("Starting JAX"):
        from metarims.runtime import check_devices

        check_devices()
        enable_cache()


def enable_cache() -> None:
    """Keep compiled programs on disk, or print why that is not possible."""
    from metarims.runtime import enable_compile_cache

    if problem := enable_compile_cache():
        print(f"Note: compiled programs are not cached: {problem}.", file=sys.stderr)
