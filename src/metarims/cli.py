"""The program ``metarims``: parse the command line, run the command, and print errors as one line."""

import argparse
import dataclasses
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Union

import tyro
from tyro.conf import subcommand

from metarims import __version__
from metarims.commands.common import program
from metarims.commands.compare import ReportCommand
from metarims.commands.info import DoctorCommand, EnvsCommand, ParamsCommand
from metarims.commands.keyboard import PlayCommand
from metarims.commands.play import EvaluateCommand, ViewCommand
from metarims.commands.plot import PlotCommand
from metarims.commands.study import StudyListCommand, StudyReportCommand, StudyRunCommand
from metarims.commands.train import DemoCommand, TrainCommand, starting_point
from metarims.config import Config
from metarims.errors import UserError, one_line, unknown_name
from metarims.rules import RULES
from metarims.runtime import limit_malloc, prevent_deadlock, silence_xla_log
from metarims.terminal import lossy_output

COMMANDS = {
    "train": TrainCommand,
    "evaluate": EvaluateCommand,
    "view": ViewCommand,
    "play": PlayCommand,
    "plot": PlotCommand,
    "report": ReportCommand,
    "envs": EnvsCommand,
    "params": ParamsCommand,
    "study": Annotated[StudyListCommand, subcommand("list")]
    | Annotated[StudyRunCommand, subcommand("run")]
    | Annotated[StudyReportCommand, subcommand("report")],
    "doctor": DoctorCommand,
    "demo": DemoCommand,
}
WRITES_FILES = (["train"], ["view"], ["plot"], ["report"], ["study"], ["demo"])
"""Commands that succeed though their output is not read."""
ABOUTS = {"study": "List, run and report studies: the paper's figures and tables."}


def main(arguments: Sequence[str] | None = None) -> None:
    """The program ``metarims``. Exit codes: 0 done, or stopped on request; 1 some plans of a study failed; 2 invalid
    input or no space; 3 a numerical fault stopped some seeds; 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    prevent_deadlock()
    limit_malloc()
    silence_xla_log()
    os.environ.pop("MPLBACKEND", None)  # Notebooks name one that only they have; figures are files here.
    with lossy_output() as (out, _):
        code, message = _run(arguments)
        if message:
            print(f"metarims: {message}", file=sys.stderr)
        out.flush()
        # A reader that left, as in `metarims doctor | head -1`, has seen enough.
        if out.problem and not isinstance(out.problem, BrokenPipeError) and arguments[:1] not in WRITES_FILES:
            print(f"metarims: the output cannot be written: {out.problem.strerror}.", file=sys.stderr)
            code = code or 2
    raise SystemExit(code)


def _run(arguments: list[str]) -> tuple[int, str]:
    """Run the command; returns its exit code and an error message."""
    code, message = 2, ""
    try:
        if arguments == ["--version"]:
            print(f"metarims {__version__}")
            return 0, ""
        code = parse(list(map(expand_home, arguments))).run(f"{program()} {shlex.join(arguments)}")
    except UserError as error:
        message = str(error)
    except KeyboardInterrupt:
        code, message = 130, "interrupted; everything written so far is kept."
    except OSError as error:  # A name too long, a folder that may not be read, ...
        from metarims.runs.files import describe_error

        message = one_line(f"{error.filename or 'A file'} cannot be used: {describe_error(error)}.")
    return code, message


def expand_home(argument: str) -> str:
    """``--out=~/x`` with the home folder, which shells replace at the beginning of a word only."""
    return re.sub(r"^(--[\w.-]+=)~(?=/|$)", lambda found: found[1] + os.path.expanduser("~"), argument)


def parse(arguments: list[str]) -> Any:
    """The command that the arguments ask for."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise unknown_name("command", arguments[0], COMMANDS)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)  # Flags that set the defaults of the others.
    first.add_argument("--preset", nargs="?", default="default")
    first.add_argument("--config-from", nargs="?", type=Path)
    first.add_argument("--agent", nargs="?")
    known, _ = first.parse_known_args(arguments)
    agent = known.agent if arguments[:1] == ["train"] else None
    start = starting_point(known.preset or "default", known.config_from, agent)
    listed = next((word for word in arguments[1:] if word in RULES), Config.agent)
    for name, config in (("train", start), ("params", Config(listed))):
        if arguments[:1] == [name]:
            _check_core_flags(arguments, config)
    defaults: dict[str, Any] = {"train": TrainCommand(start), "params": ParamsCommand(core=Config(listed).core)}
    if arguments and arguments[0] in COMMANDS:  # Alone, so that messages speak of this command's flags only.
        name, *rest = arguments
        return _parse(COMMANDS[name], f"metarims {name}", ABOUTS.get(name), rest, defaults.get(name))
    commands = [Annotated[kind, subcommand(name, description=ABOUTS.get(name))] for name, kind in COMMANDS.items()]
    about = "Modular recurrent agents that learn at two speeds, in MiniGrid and BabyAI."
    return _parse(Union[tuple(commands)], "metarims", about, arguments)  # noqa: UP007


def _parse(kind: Any, prog: str, description: str | None, arguments: list[str], default: Any = None) -> Any:
    registry = tyro.constructors.ConstructorRegistry()
    registry.primitive_rule(_whole_numbers)
    registry.primitive_rule(_texts)
    given = {} if default is None else {"default": default}
    config = (tyro.conf.OmitSubcommandPrefixes,)
    with registry:
        return tyro.cli(kind, prog=prog, description=description, args=arguments, config=config, **given)


def _check_core_flags(arguments: list[str], config: Config) -> None:
    """Raise ``UserError`` for a flag of the core that this agent's core does not have."""
    names = [field.name.replace("_", "-") for field in dataclasses.fields(config.core)]
    for word in arguments:
        section, _, name = word.partition("=")[0].replace("_", "-").partition(".")
        if section == "--core" and name.removeprefix("no-") not in names:
            raise unknown_name(f"setting of the core of {config.agent}", name, names)


def _whole_numbers(asked: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """How integer flags are read: also 1e6, 1_000_000 and 100k; several of them also separated by commas."""
    if asked.type not in (int, tuple[int, ...]):
        return None
    one = asked.type is int

    def parts(value: Any) -> tuple[Any, ...]:
        return (value,) if one else value

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1 if one else "*",
        metavar="INT" if one else "[INT [INT ...]]",
        instance_from_str=lambda words: _whole(*words) if one else tuple(map(_whole, _split(words))),
        is_instance=lambda value: all(type(part) is int for part in parts(value)),
        str_from_instance=lambda value: list(map(str, parts(value))),
    )


def _texts(asked: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """Help shows an empty default as ``none``."""
    if asked.type not in (str, tuple[str, ...]):
        return None
    one = asked.type is str
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1 if one else "*",
        metavar="STR" if one else "[STR [STR ...]]",
        instance_from_str=lambda words: words[0] if one else tuple(words),
        is_instance=lambda value: isinstance(value, str if one else tuple),
        str_from_instance=lambda value: list((value,) if isinstance(value, str) else value) if value else ["none"],
    )


def _split(words: list[str]) -> list[str]:
    return [part for word in words for part in word.split(",") if part]


def _whole(word: str) -> int:
    """Also 1e6, 1_000_000, 100k and 1.5M."""
    factor = {"k": 10**3, "m": 10**6}.get(word[-1:].lower(), 1)
    word, written = word if factor == 1 else word[:-1], word
    for read in (int, float):
        try:
            if (number := read(word) * factor) == int(number):
                return int(number)
        except (ValueError, OverflowError):
            pass
    raise ValueError(f"{written} is not a whole number, such as 20000, 2e4 or 20k.")


if __name__ == "__main__":
    main()
