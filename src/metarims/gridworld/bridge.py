"""From Farama's objects to our arrays: the state of an environment, and the pictures of the tiles."""

from typing import Any

import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.world_object import WorldObj

from metarims.gridworld.tiles import AGENT, EMPTY, NUM_TILES, SYMBOLS, TARGET, UNSEEN
from metarims.gridworld.world import World
from metarims.types import TILE


def draw_atlas() -> np.ndarray:
    """[60, 8, 8, 3] every tile of the agent's view as minigrid draws it (``atlas.npy`` is this array)."""
    tiles = []
    for code in range(NUM_TILES):
        thing = WorldObj.decode(*map(int, SYMBOLS[code]))
        direction = 3 if code >= AGENT else None
        tiles.append(Grid.render_tile(thing, agent_dir=direction, highlight=code != UNSEEN, tile_size=TILE))
    return np.stack(tiles).astype(np.uint8)


_CODE_OF = {tuple(map(int, symbol)): code for code, symbol in enumerate(SYMBOLS[:AGENT])}


def world_from_farama(env: Any, mission: int = 0) -> World:
    """The state of a Farama environment (after ``reset`` or any ``step``) as a ``World`` of numpy arrays."""
    env = env.unwrapped
    grid = np.array([[_code(env.grid.get(x, y)) for y in range(env.height)] for x in range(env.width)], np.uint8)
    carrying = _code(env.carrying)
    instruction = getattr(env, "instrs", None)
    for thing in getattr(getattr(instruction, "desc", None), "obj_set", ()):
        x, y = thing.cur_pos
        if env.carrying is thing:
            carrying |= TARGET
        elif env.grid.get(x, y) is thing:
            grid[x, y] |= TARGET
    fields: dict[str, Any] = {
        "grid": grid,
        "x": np.int8(env.agent_pos[0]),
        "y": np.int8(env.agent_pos[1]),
        "direction": np.int8(env.agent_dir),
        "carrying": np.uint8(carrying),
        "mission": np.int16(mission),
        "step_count": np.int16(env.step_count),
        "task": np.uint8(0),
    }
    return World(**fields)


def _code(thing: Any) -> int:
    return EMPTY if thing is None else _CODE_OF[tuple(map(int, thing.encode()))]
