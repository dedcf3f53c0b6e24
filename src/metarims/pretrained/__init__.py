"""The agents that come with the package: NAME.safetensors beside this file, ``metarims view --agent NAME``."""

from pathlib import Path

from metarims.errors import UserError

HERE = Path(__file__).parent


def names() -> tuple[str, ...]:
    """What can be asked for."""
    return tuple(sorted(path.stem for path in HERE.glob("*.safetensors")))


def find(name: str) -> Path:
    """The file of one of them; an unknown name is a ``UserError``."""
    if name not in names():
        raise UserError(
            f"No agent named '{name}' comes with the package, but {', '.join(names())} do. To play a run's agents, "
            "name its folder instead of --agent."
        )
    return HERE / f"{name}.safetensors"
