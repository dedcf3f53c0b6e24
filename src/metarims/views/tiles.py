"""Pictures and names of the tiles, drawn by minigrid itself, as sheets that a page can carry.

A sheet is one PNG image with the tile of code ``c`` at column ``c % COLUMNS`` and row ``c // COLUMNS``.
"""

import base64
import functools
import io

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


@functools.cache
def world_sheet(tile_size: int) -> str:
    """Data URI of the tiles of a world seen from above, without highlight and without the agent."""
    return _png_uri(_sheet([_draw(code, tile_size, highlight=False) for code in range(WORLD_TILES)]))


@functools.cache
def view_sheet(tile_size: int) -> str:
    """Data URI of the tiles of a view, lit wherever the agent sees; at 8 pixels just what ``RGBImgPartialObsWrapper``
    hands to the agent."""
    return _png_uri(_sheet([_draw(code, tile_size, highlight=code != 0) for code in range(VIEW_TILES)]))


def _carried(code: int) -> int:
    return code - _AGENT + _FIRST_OBJECT - 1


def _draw(code: int, tile_size: int, highlight: bool) -> UInt8[np.ndarray, "size size 3"]:
    from minigrid.core.grid import Grid  # slow to import, and pages are the only place that needs it

    facing_up = 3 if code >= _AGENT else None
    return Grid.render_tile(_world_object(code), agent_dir=facing_up, highlight=highlight, tile_size=tile_size)


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


def _sheet(tiles: list[np.ndarray]) -> UInt8[np.ndarray, "height width 3"]:
    size = tiles[0].shape[0]
    num_rows = -(-len(tiles) // COLUMNS)
    sheet = np.zeros((num_rows * size, COLUMNS * size, 3), np.uint8)
    for code, tile in enumerate(tiles):
        row, column = divmod(code, COLUMNS)
        sheet[row * size : (row + 1) * size, column * size : (column + 1) * size] = tile
    return sheet


def _png_uri(image: UInt8[np.ndarray, "height width 3"]) -> str:
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, image, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
