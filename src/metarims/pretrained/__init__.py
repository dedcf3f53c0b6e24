"""The pretrained agents: NAME.safetensors beside this file, ``metarims view NAME``."""

from pathlib import Path

from metarims.errors import unknown_name

HERE = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Their names."""
    return tuple(sorted(path.stem for path in HERE.glob("*.safetensors")))


def find(name: str) -> Path:
    """The file of one of them; an unknown name is a ``UserError``."""
    if name not in names():
        raise unknown_name("pretrained agent", name, names())
    return HERE / f"{name}.safetensors"
