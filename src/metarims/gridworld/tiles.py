"""The 60 tiles: one code per distinct picture of a cell, and what each means in Farama's (type, colour, state) terms.

0 unseen, 1 empty, 2 wall, 3 goal, 4 lava; 5 + 6 t + c an object (t: key, ball, box; c: colour); 23 + 3 c + s a door
(s: open, closed, locked); and, in views only, the agent's own
cell: 41 empty-handed, 41 + (code - 4) when it carries the object ``code``.
"""

from importlib.resources import files

import numpy as np

COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
KINDS = ("key", "ball", "box")
DOOR_STATES = ("open", "closed", "locked")

UNSEEN, EMPTY, WALL, GOAL, LAVA = range(5)
KEY, BALL, BOX = (5 + len(COLORS) * kind for kind in range(3))
"""Code of the red one of each kind; the other colours follow."""
DOOR = 23
"""Code of the open red door."""
AGENT = 41
NUM_TILES = 60

CODE = 0x3F
"""The bits of a grid cell that hold its tile code."""
TARGET = 0x80
"""Flag of a grid cell: what stands here is (one of) the mission's objects."""
LANDMARK = 0x40
"""Flag of a grid cell: the mission's second place (where to put it; where not to go)."""


def object_code(kind: str, color: str) -> int:
    """Code of a key, ball or box."""
    return KEY + len(COLORS) * KINDS.index(kind) + COLORS.index(color)


def door_code(color: str, state: str) -> int:
    """Code of a door."""
    return DOOR + 3 * COLORS.index(color) + DOOR_STATES.index(state)


def _symbols() -> np.ndarray:
    triples = [(0, 0, 0), (1, 0, 0), (2, 5, 0), (8, 1, 0), (9, 0, 0)]
    triples += [(5 + kind, color, 0) for kind in range(3) for color in range(6)]
    triples += [(4, color, state) for color in range(6) for state in range(3)]
    carried = [triples[EMPTY], *triples[KEY:DOOR]]
    return np.array(triples + carried, np.uint8)


SYMBOLS = _symbols()
"""[60, 3] Farama's (type, colour, state) of each code; the agent's cell shows what the agent carries."""

TILE_ATLAS: np.ndarray = np.load(str(files("metarims.gridworld") / "atlas.npy"))
"""[60, 8, 8, 3] minigrid's own picture of each code (``bridge.draw_atlas`` made the file)."""
