"""The program ``metarims``: from a command line to one of the commands, and from what goes wrong to a sentence."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from metarims.commands.common import program
from metarims.commands.others import Doctor, Envs, Params, Plot, RunDemo, Version
from metarims.commands.play import Evaluate, View
from metarims.commands.study import StudyList, StudyReport, StudyRun
from metarims.commands.train import Train, starting_point
from metarims.errors import UserError, one_line, unknown_name
from metarims.runtime import limit_malloc, prevent_deadlock, silence_xla_log


def main(arguments: Sequence[str] | None = None) -> None:
    """The program ``metarims``. Exit codes: 0 done or stopped on request, 1 done but for plans of a study that failed,
    2 bad input or no space, 3 done but for seeds that a numerical fault stopped, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    prevent_deadlock()
    limit_malloc()
    silence_xla_log()
    try:
        code = _parse(arguments).run(f"{program()} {shlex.join(arguments)}")
        sys.stdout.flush()
    except UserError as error:
        print(f"metarims: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("metarims: interrupted; what was written before is kept.", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # The reader of our output left, as in `metarims doctor | head -1`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:  # A name too long, a folder that may not be read, ...
        from metarims.runs.files import describe_error

        print(
            one_line(f"metarims: {error.filename or 'A file'} cannot be used: {describe_error(error)}."),
            file=sys.stderr,
        )
        code = 2
    raise SystemExit(code)


COMMANDS = ("train", "evaluate", "view", "plot", "envs", "params", "study", "doctor", "demo")


def _parse(arguments: list[str]) -> Any:
    if arguments == ["--version"]:
        return Version()
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise unknown_name("command", arguments[0], COMMANDS)
    like = _value_of("--config-from", arguments)
    start = Train(starting_point(_value_of("--preset", arguments) or "default", Path(like) if like else None))
    commands = (
        Annotated[Train, tyro.conf.subcommand("train", default=start)]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[View, tyro.conf.subcommand("view")]
        | Annotated[Plot, tyro.conf.subcommand("plot")]
        | Annotated[Envs, tyro.conf.subcommand("envs")]
        | Annotated[Params, tyro.conf.subcommand("params")]
        | Annotated[
            Annotated[StudyList, tyro.conf.subcommand("list")]
            | Annotated[StudyRun, tyro.conf.subcommand("run")]
            | Annotated[StudyReport, tyro.conf.subcommand("report")],
            tyro.conf.subcommand("study", description="The paper's figures and tables: list them, run one, report it."),
        ]
        | Annotated[Doctor, tyro.conf.subcommand("doctor")]
        | Annotated[RunDemo, tyro.conf.subcommand("demo")]
    )
    registry = tyro.constructors.ConstructorRegistry()
    registry.primitive_rule(_whole_numbers)
    with registry:
        return tyro.cli(
            commands,  # pyright: ignore[reportArgumentType]
            prog="metarims",
            description="Modular recurrent agents that learn at two speeds, in MiniGrid and BabyAI.",
            args=arguments,
            config=(tyro.conf.OmitSubcommandPrefixes,),
        )


def _whole_numbers(asked: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """How flags that are integers are read: also as 1e6 and 1_000_000; several of them also with commas between."""

    def read(word: str) -> int:
        try:
            return int(word)
        except ValueError:
            pass
        try:
            if (number := float(word)).is_integer():
                return int(number)
        except ValueError:
            pass
        raise ValueError(f"{word} is not a whole number, such as 20000 or 2e4.")

    def read_all(words: list[str]) -> tuple[int, ...]:
        return tuple(read(part) for word in words for part in word.split(",") if part)

    def is_whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    if asked.type is int:
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="INT",
            instance_from_str=lambda words: read(*words),
            is_instance=is_whole,
            str_from_instance=lambda value: [str(value)],
        )
    if asked.type == tuple[int, ...]:
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs="*",
            metavar="[INT [INT ...]]",
            instance_from_str=read_all,
            is_instance=lambda value: isinstance(value, tuple) and all(map(is_whole, value)),
            str_from_instance=lambda value: [str(part) for part in value],
        )
    return None


def _value_of(flag: str, arguments: list[str]) -> str:
    """The value of a flag from which the others' defaults come, so that it is read first; empty: it is not there."""
    value = ""
    for index, word in enumerate(arguments):
        if word == flag and index + 1 < len(arguments):
            value = arguments[index + 1]
        elif word.startswith(f"{flag}="):
            value = word.removeprefix(f"{flag}=")
    return value


if __name__ == "__main__":
    main()
