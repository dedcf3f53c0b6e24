"""Pictures and names of the tiles, drawn by minigrid itself, as sheets that a page can carry.

A sheet is one PNG image with the tile of code ``c`` at column ``c % COLUMNS`` and row ``c // COLUMNS``. The sheets lie
in ``assets``, for minigrid takes seconds to draw them; ``python -m metarims.views.tile_images`` draws them anew.
"""

import base64
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import matplotlib.image
import numpy as np
from jaxtyping import UInt8

from metarims.gridworld.tiles import AGENT, COLORS, DOOR, DOOR_STATES, KEY, KINDS, NUM_TILES
from metarims.gridworld.types import TILE

COLUMNS = 10

_PLAIN = ("unseen", "empty", "wall", "goal", "lava")


def tile_name(code: int) -> str:
    """A tile in words: ``red ball``, ``locked blue door``, ``agent carrying red key``."""
    if code < KEY:
        return _PLAIN[code]
    if code < DOOR:
        kind, color = divmod(code - KEY, len(COLORS))
        return f"{COLORS[color]} {KINDS[kind]}"
    if code < AGENT:
        color, state = divmod(code - DOOR, len(DOOR_STATES))
        return f"{DOOR_STATES[state]} {COLORS[color]} door"
    return "agent" if code == AGENT else f"agent carrying {tile_name(code - AGENT + KEY - 1)}"


class Sheet(NamedTuple):
    """Which tiles a sheet shows, and how."""

    num_tiles: int
    tile_size: int
    """Pixels along a tile's side."""
    lit: bool
    """Tiles that the agent sees are lit, as minigrid shows them."""


SHEETS = {
    "world": Sheet(AGENT, 48, lit=False),
    "view": Sheet(NUM_TILES, 48, lit=True),
    "pixels": Sheet(NUM_TILES, TILE, lit=True),
}
"""The world from above (in which no cell is the agent's), the view drawn for people, and the view as
``RGBImgPartialObsWrapper`` gives it to agents."""


def sheet_uri(name: str) -> str:
    """A sheet as a data URI."""
    image = (resources.files("metarims.views") / "assets" / f"tiles-{name}.png").read_bytes()
    return "data:image/png;base64," + base64.b64encode(image).decode()


def draw_sheet(sheet: Sheet) -> UInt8[np.ndarray, "height width 3"]:
    """All tiles of a sheet in their places."""
    from metarims.gridworld.bridge import draw_tile  # Only drawing needs minigrid, which is slow to import.

    size = sheet.tile_size
    image = np.zeros((-(-sheet.num_tiles // COLUMNS) * size, COLUMNS * size, 3), np.uint8)
    for code in range(sheet.num_tiles):
        row, column = divmod(code, COLUMNS)
        image[row * size : (row + 1) * size, column * size : (column + 1) * size] = draw_tile(code, size, sheet.lit)
    return image


def main() -> None:
    """Draw every sheet into ``assets``."""
    for name, sheet in SHEETS.items():
        file = Path(__file__).parent / "assets" / f"tiles-{name}.png"
        matplotlib.image.imsave(file, draw_sheet(sheet))


if __name__ == "__main__":
    main()
