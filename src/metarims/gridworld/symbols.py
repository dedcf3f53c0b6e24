"""Tile codes of MiniGrid's symbolic images and grids: arrays of (type, colour, state)."""

import numpy as np

from metarims.errors import UserError
from metarims.gridworld.tiles import AGENT, DOOR, EMPTY, KEY, SYMBOLS, WALL
from metarims.gridworld.types import VIEW

FLOOR = 3
"""MiniGrid's type of a coloured floor, of which there is no tile code."""
_NO_CODE = 255
_CODES = np.full((12, 7, 4), _NO_CODE, np.uint8)
_CODES[tuple(SYMBOLS[:AGENT].T)] = np.arange(AGENT)


def codes_from_symbols(image: np.ndarray, *, nearest: bool = False) -> np.ndarray:
    """Tile codes ``[*B, 7, 7]`` of Farama's symbolic images.

    A tile outside MiniGrid's own tasks is a ``UserError``, or (``nearest``) as in ``grid_codes``.
    """
    image = np.asarray(image)
    if image.shape[-3:] != (VIEW, VIEW, 3):
        raise UserError(f"The image has shape {image.shape[-3:]}: only MiniGrid's view of 7 x 7 x 3 can be read.")
    codes = _look_up(image, nearest)
    own = codes[..., VIEW // 2, VIEW - 1]
    carried = (own >= KEY) & (own < DOOR)
    here = np.where(own == EMPTY, AGENT, np.where(carried, own + AGENT - KEY + 1, own))
    codes[..., VIEW // 2, VIEW - 1] = here
    return codes


def grid_codes(symbols: np.ndarray) -> np.ndarray:
    """Tile codes ``[W, H]`` of ``Grid.encode()``. What no code means is shown as the nearest that blocks as it does: a
    floor is empty, anything else a wall."""
    return _look_up(np.asarray(symbols), nearest=True)


def _look_up(symbols: np.ndarray, nearest: bool) -> np.ndarray:
    kinds = symbols.astype(int)
    limits = np.array(_CODES.shape)
    clipped = np.moveaxis(np.where((kinds < 0) | (kinds >= limits), limits - 1, kinds), -1, 0)
    codes = _CODES[clipped[0], clipped[1], clipped[2]]
    unknown = codes == _NO_CODE
    if unknown.any() and not nearest:
        kind, color, state = kinds[unknown][0]
        raise UserError(
            f"The environment shows a tile (type {kind}, colour {color}, state {state}) that no tile code means."
        )
    codes[unknown] = np.where(kinds[unknown][..., 0] == FLOOR, EMPTY, WALL)
    return codes
