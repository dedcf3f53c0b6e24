"""The pretrained agents: NAME.safetensors beside this file, ``metarims view --agent NAME``."""

from pathlib import Path

from metarims.errors import UserError

HERE = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Their names."""
    return tuple(sorted(path.stem for path in HERE.glob("*.safetensors")))


def find(name: str) -> Path:
    """The file of one of them; an unknown name is a ``UserError``."""
    if name not in names():
        raise UserError(
            f"Unknown pretrained agent '{name}'. Known: {', '.join(names())}. To play a run's agents, name its folder "
            "instead of --agent."
        )
    return HERE / f"{name}.safetensors"
