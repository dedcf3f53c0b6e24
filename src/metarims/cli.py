"""The program ``metarims``: parse the command line, run the command, and print errors as one line."""

import argparse
import dataclasses
import io
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Sequence
from contextlib import redirect_stdout
from functools import partial
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

STUDY = {"list": StudyListCommand, "run": StudyRunCommand, "report": StudyReportCommand}
COMMANDS = {
    "train": TrainCommand,
    "evaluate": EvaluateCommand,
    "view": ViewCommand,
    "play": PlayCommand,
    "plot": PlotCommand,
    "report": ReportCommand,
    "envs": EnvsCommand,
    "params": ParamsCommand,
    "study": Union[tuple(Annotated[kind, subcommand(name)] for name, kind in STUDY.items())],  # noqa: UP007
    "doctor": DoctorCommand,
    "demo": DemoCommand,
}
SHORT_HELP = """Train agents. Rerun the command to resume an interrupted run.

These are the usual flags; metarims train --help-all shows every setting."""
WRITES_FILES = (["train"], ["view"], ["plot"], ["report"], ["study"], ["demo"])
"""Commands that succeed though their output is not read."""
ABOUTS = {"study": "List, run and report studies: the paper's figures and tables."}
USUAL = {"config", "agent", "env", "frames", "seeds", "out", "preset", "devices", "log"}
"""Fields of ``metarims train`` that ``--help`` shows; ``--help-all`` shows the others too."""
OTHER_NAMES = {
    **dict.fromkeys(("lr", "learning-rate"), "--fast.learning-rate or --slow.learning-rate"),
    **dict.fromkeys(("total-timesteps", "timesteps", "steps"), "--frames"),
    **dict.fromkeys(("num-steps", "n-steps"), "--fast.rollout or --slow.rollout"),
    **dict.fromkeys(("update-epochs", "n-epochs"), "--fast.epochs or --slow.epochs"),
    **dict.fromkeys(("batch-size", "minibatch-size", "num-minibatches"), "--fast.minibatches or --slow.minibatches"),
    "n-envs": "--ppo.num-envs",
    "ent-coef": "--ppo.entropy-coef",
    "vf-coef": "--ppo.value-coef",
    **dict.fromkeys(("clip-coef", "clip-range"), "--ppo.clip"),
    "anneal-lr": "--ppo.lr-schedule",
    "hidden-size": "--core.module-dim",
    **dict.fromkeys(("env-id", "env-name", "task"), "--env"),
    **dict.fromkeys(("algo", "algorithm", "model"), "--agent"),
    **dict.fromkeys(("log-dir", "logdir", "save-dir", "output-dir", "exp-name"), "--out"),
    **dict.fromkeys(("track", "wandb", "tensorboard"), "--log"),
}
"""What CleanRL, Stable-Baselines3 and others call a flag of ``metarims train``, and what it is here."""


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


def _as_switch(argument: str) -> str:
    """``--ppo.clip-value=True``, as sweeps write it, as ``--ppo.clip-value``; with ``False`` as
    ``--ppo.no-clip-value``."""
    found = re.fullmatch(r"(--[\w-]+\.)([\w-]+)=(true|false)", argument, re.IGNORECASE)
    return f"{found[1]}{'no-' * (found[3].lower() == 'false')}{found[2]}" if found else argument


def parse(arguments: list[str]) -> Any:
    """The command that the arguments ask for."""
    arguments = list(map(_as_switch, arguments))
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
    if arguments[:1] == ["train"]:
        _check_other_names(arguments)
    whole = "--help-all" in arguments
    arguments = ["--help" if word == "--help-all" else word for word in arguments]
    defaults: dict[str, Any] = {"train": TrainCommand(start), "params": ParamsCommand(core=Config(listed).core)}
    if arguments and arguments[0] in COMMANDS:  # Alone, so that messages speak of this command's flags only.
        name, *rest = arguments
        if name == "study" and rest and rest[0] in STUDY:
            return _parse(STUDY[rest[0]], f"metarims study {rest[0]}", None, rest[1:])
        short = name == "train" and not whole and bool({"-h", "--help"} & {*rest})
        about = SHORT_HELP if short else ABOUTS.get(name)
        return _parse(COMMANDS[name], f"metarims {name}", about, rest, defaults.get(name), USUAL if short else None)
    commands = [Annotated[kind, subcommand(name, description=ABOUTS.get(name))] for name, kind in COMMANDS.items()]
    about = "Modular recurrent agents that learn at two speeds, in MiniGrid and BabyAI."
    return _parse(Union[tuple(commands)], "metarims", about, arguments)  # noqa: UP007


def _parse(
    kind: Any,
    prog: str,
    description: str | None,
    arguments: list[str],
    default: Any = None,
    listed_fields: Collection[str] | None = None,
) -> Any:
    """``listed_fields``: the only fields that help shows (None: all)."""
    registry = tyro.constructors.ConstructorRegistry()
    registry.primitive_rule(_whole_numbers)
    registry.primitive_rule(_texts)
    registry.struct_rule(_FieldsInHelp(listed_fields))
    given = {} if default is None else {"default": default}
    config = (tyro.conf.OmitSubcommandPrefixes,)
    out, held = sys.stdout, io.BytesIO()
    text = io.TextIOWrapper(held, out.encoding or "utf-8", "backslashreplace", newline="")  # Its letters,
    text.isatty = out.isatty  # and colours or none.
    try:
        with registry, redirect_stdout(text):
            return tyro.cli(kind, prog=prog, description=description, args=arguments, config=config, **given)
    finally:  # Help, which ends the program.
        text.flush()
        width, lines = shutil.get_terminal_size().columns, held.getvalue().decode(text.encoding).splitlines()
        out.write("".join(f"{_wrapped(line, width)}\n" for line in lines))


def _wrapped(line: str, width: int) -> str:
    """A line of help; tyro wraps only those in its panels."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", line)
    if len(plain) <= width or plain[:1] in "╭│╰":
        return line
    return textwrap.fill(plain, width, subsequent_indent="    " * plain.startswith("usage:"), break_on_hyphens=False)


class _FieldsInHelp:
    """How the fields of a dataclass become flags: as tyro does it, but each docstring is one paragraph in help, which
    the terminal's width alone wraps."""

    def __init__(self, listed_fields: Collection[str] | None):
        self.listed_fields, self.busy = listed_fields, False

    def __call__(self, asked: tyro.constructors.StructTypeInfo) -> tyro.constructors.StructConstructorSpec | None:
        if self.busy or not dataclasses.is_dataclass(asked.type):
            return None
        self.busy = True  # Below, the other rules answer.
        try:
            found = tyro.constructors.ConstructorRegistry.get_struct_spec(asked)
        finally:
            self.busy = False
        if not isinstance(found, tyro.constructors.StructConstructorSpec):
            return found  # pyright: ignore[reportReturnType]
        fields = [field for field in found.fields if self.listed_fields is None or field.name in self.listed_fields]
        texts = [partial(_one_paragraph, field.helptext) for field in fields]
        changed = (dataclasses.replace(f, helptext=text) for f, text in zip(fields, texts, strict=True))
        return dataclasses.replace(found, fields=tuple(changed))


def _one_paragraph(text: str | Callable[[], str | None] | None) -> str | None:
    text = text() if callable(text) else text
    return text and " ".join(text.split())


def _check_other_names(arguments: list[str]) -> None:
    """Raise ``UserError`` for a flag by which other software knows one of ours."""
    for word in arguments:
        name = word.partition("=")[0].replace("_", "-")
        if name.startswith("--") and (ours := OTHER_NAMES.get(name[2:])):
            raise UserError(f"Unknown flag {name}: use {ours}.", field=name)


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
