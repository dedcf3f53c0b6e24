"""A state of ours as a Farama environment: its pictures and attributes, for users and wrappers that ask for them."""

from typing import Any

import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import WorldObj
from minigrid.minigrid_env import MiniGridEnv

from metarims.gridworld.state import EnvState
from metarims.gridworld.tiles import CODE, EMPTY, SYMBOLS

ATTRIBUTES = (
    *("grid", "agent_pos", "agent_dir", "carrying", "step_count", "front_pos", "dir_vec", "right_vec"),
    *("gen_obs", "gen_obs_grid", "get_frame", "get_full_render", "get_pov_render", "get_view_coords"),
    *("get_view_exts", "relative_coords", "in_view", "agent_sees", "hash", "pprint_grid"),
)
"""Of a ``FaramaCopy``, by Farama's names, that change with the state."""


class FaramaCopy(MiniGridEnv):
    """What Farama's environment would be in ``state`` (NumPy arrays); it is looked at, not stepped."""

    def __init__(self, level: Any, state: EnvState):
        width, height = np.shape(state.grid)
        mission = level.text(state)
        space, limit = MissionSpace(mission_func=lambda: mission), int(level.max_steps)
        see_through = bool(np.asarray(level.rules_of(state).see_through))
        super().__init__(
            space, width=width, height=height, max_steps=limit, see_through_walls=see_through, render_mode=None
        )
        self.mission, self.step_count = mission, int(state.step_count)
        self.agent_pos, self.agent_dir = (int(state.x), int(state.y)), int(state.direction)
        self.carrying = _thing(state.carrying)
        self.grid = Grid(width, height)
        self.grid.grid = [_thing(state.grid[x, y]) for y in range(height) for x in range(width)]
        for place, thing in enumerate(self.grid.grid):
            if thing is not None:
                thing.init_pos = thing.cur_pos = (place % width, place // width)

    def _gen_grid(self, width: int, height: int) -> None:
        raise NotImplementedError("a copy of one state has no other levels")


def _thing(cell: Any) -> WorldObj | None:
    code = int(cell) & CODE
    return None if code == EMPTY else WorldObj.decode(*map(int, SYMBOLS[code]))
