"""Pictures and names of the tiles, drawn by minigrid itself, as sheets that a page can carry.

A sheet is one PNG image with the tile of code ``c`` at column ``c % COLUMNS`` and row ``c // COLUMNS``. The sheets lie
in ``assets``, for minigrid takes seconds to draw them; ``python -m metarims.views.tiles`` draws them anew.
"""

import base64
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import matplotlib.image
import numpy as np
from jaxtyping import UInt8

WORLD_TILES = 41
"""Codes 0..40 occur in a world's grid."""
VIEW_TILES = 60
"""Codes 41..59 occur in views only: the agent's own cell, with empty hands or carrying an object."""
COLUMNS = 10

_COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
_OBJECTS = ("key", "ball", "box")
_DOORS = ("open", "closed", "locked")
_PLAIN = ("unseen", "empty", "wall", "goal", "lava")
_FIRST_OBJECT, _FIRST_DOOR, _AGENT = 5, 23, 41


def tile_name(code: int) -> str:
    """A tile in words: ``red ball``, ``locked blue door``, ``agent carrying red key``."""
    if code < _FIRST_OBJECT:
        return _PLAIN[code]
    if code < _FIRST_DOOR:
        kind, color = divmod(code - _FIRST_OBJECT, len(_COLORS))
        return f"{_COLORS[color]} {_OBJECTS[kind]}"
    if code < _AGENT:
        color, state = divmod(code - _FIRST_DOOR, len(_DOORS))
        return f"{_DOORS[state]} {_COLORS[color]} door"
    return "agent" if code == _AGENT else f"agent carrying {tile_name(_carried(code))}"


class Sheet(NamedTuple):
    """Which tiles a sheet shows, and how."""

    num_tiles: int
    tile_size: int
    """Pixels along a tile's side."""
    lit: bool
    """Tiles that the agent sees are lit, as minigrid shows them."""


SHEETS = {
    "world": Sheet(WORLD_TILES, 48, lit=False),
    "view": Sheet(VIEW_TILES, 48, lit=True),
    "pixels": Sheet(VIEW_TILES, 8, lit=True),
}
"""The world from above, the view drawn for people, and the view as ``RGBImgPartialObsWrapper`` gives it to agents."""


def sheet_uri(name: str) -> str:
    """A sheet as a data URI."""
    image = (resources.files("metarims.views") / "assets" / f"tiles-{name}.png").read_bytes()
    return "data:image/png;base64," + base64.b64encode(image).decode()


def draw_tile(code: int, sheet: Sheet) -> UInt8[np.ndarray, "size size 3"]:
    """One tile of a sheet, by minigrid's own renderer."""
    from minigrid.core.grid import Grid  # only drawing needs it, and it is slow to import

    tile = Grid.render_tile(
        _world_object(code),
        agent_dir=3 if code >= _AGENT else None,  # facing up
        highlight=sheet.lit and code != 0,
        tile_size=sheet.tile_size,
    )
    return tile.astype(np.uint8)  # minigrid gives floats, and truncates them in its frames too


def draw_sheet(sheet: Sheet) -> UInt8[np.ndarray, "height width 3"]:
    """All tiles of a sheet in their places."""
    size = sheet.tile_size
    image = np.zeros((-(-sheet.num_tiles // COLUMNS) * size, COLUMNS * size, 3), np.uint8)
    for code in range(sheet.num_tiles):
        row, column = divmod(code, COLUMNS)
        image[row * size : (row + 1) * size, column * size : (column + 1) * size] = draw_tile(code, sheet)
    return image


def _carried(code: int) -> int:
    return code - _AGENT + _FIRST_OBJECT - 1


def _world_object(code: int):
    """The minigrid object that a tile shows; ``None`` where there is none."""
    from minigrid.core import world_object

    if code > _AGENT:
        return _world_object(_carried(code))
    if code < 2 or code == _AGENT:
        return None
    if code < _FIRST_OBJECT:
        return {2: world_object.Wall, 3: world_object.Goal, 4: world_object.Lava}[code]()
    if code < _FIRST_DOOR:
        kind, color = divmod(code - _FIRST_OBJECT, len(_COLORS))
        return (world_object.Key, world_object.Ball, world_object.Box)[kind](_COLORS[color])
    color, state = divmod(code - _FIRST_DOOR, len(_DOORS))
    return world_object.Door(_COLORS[color], is_open=_DOORS[state] == "open", is_locked=_DOORS[state] == "locked")


def main() -> None:
    """Draw every sheet into ``assets``."""
    for name, sheet in SHEETS.items():
        file = Path(__file__).parent / "assets" / f"tiles-{name}.png"
        matplotlib.image.imsave(file, draw_sheet(sheet))


if __name__ == "__main__":
    main()
