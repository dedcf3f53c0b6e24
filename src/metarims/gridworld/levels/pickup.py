"""BabyAI's "pick up" levels: objects first, then the agent, then a description of what to pick up."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, UInt8

from metarims.gridworld.levels.base import Level, walled_room
from metarims.gridworld.levels.placing import all_reachable, distinct, nth, place_all, spread_out
from metarims.gridworld.missions import PICKUP_DIST, PICKUP_LOC
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, heading, new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.tiles import COLORS, EMPTY, KEY, KINDS, TARGET

GREY = COLORS.index("grey")


@dataclasses.dataclass(frozen=True)
class PickupLevel(Level):
    """One room. The middle and its four neighbours stay free: Farama's agent stands there until it is placed."""

    num_objects: int = 0

    def _objects(
        self, stream: RandomStream, things: Int32[Array, " n"]
    ) -> tuple[Int32[Array, " n"], UInt8[Array, "W H"]]:
        """Put things (0 ... 17) into the room; their cells (counted inside the walls), and the grid."""
        side = self.width - 2
        middle = self.width // 2 - 1
        cells = spread_out(stream.take(self.num_objects), jnp.int32(middle * side + middle), side)
        return cells, self._place(jnp.asarray(walled_room(self.width, self.height)), cells, KEY + things)

    def _place(self, grid: UInt8[Array, "W H"], cells: Int32[Array, " n"], values: Int32[Array, " n"]):
        side = self.width - 2
        return place_all(grid, cells // side + 1, cells % side + 1, values)

    def _agent(self, stream: RandomStream, grid: UInt8[Array, "W H"]):
        """Uniform among empty cells and directions that face no object (``RoomGrid.place_agent``)."""
        side = self.width - 2
        bare = grid < KEY  # nothing here, or a wall
        ahead = [bare[2:, 1:-1], bare[1:-1, 2:], bare[:-2, 1:-1], bare[1:-1, :-2]]
        valid = (jnp.stack(ahead, -1) & (grid[1:-1, 1:-1] == EMPTY)[..., None]).reshape(-1)
        pose = nth(valid, stream.randint(valid.sum(dtype=jnp.int32)))
        return pose // 4, pose % 4, side


@dataclasses.dataclass(frozen=True)
class PickupDist(PickupLevel):
    """Five different objects, one described by kind, by colour, or by both."""

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Every level is kept."""
        things = distinct(stream.take(self.num_objects), 18)
        _, grid = self._objects(stream, things)
        agent, direction, side = self._agent(stream, grid)
        thing = things[stream.randint(self.num_objects)]
        kind, color = thing // 6, thing % 6
        select_by = stream.randint(3)
        matches = _matches(grid, jnp.where(select_by == 1, -1, kind), jnp.where(select_by == 2, -1, color))
        several = matches.sum() > 1
        by_kind = 18 + 3 * several + kind
        by_color = 24 + jnp.where(several | (color == GREY), 0, 6) + color
        mission = jnp.where(select_by == 0, thing, jnp.where(select_by == 2, by_kind, by_color))
        grid = jnp.where(matches, grid | TARGET, grid)
        return new_state(grid, agent // side + 1, agent % side + 1, direction, mission), jnp.bool_(True)


@dataclasses.dataclass(frozen=True)
class PickupLoc(PickupLevel):
    """Eight objects, one described by kind and perhaps by colour and by where it lies as seen from the start."""

    def attempt(self, stream: RandomStream) -> tuple[EnvState, Bool[Array, ""]]:
        """Kept if every object can be reached."""
        things = stream.randints(self.num_objects, 18)
        cells, grid = self._objects(stream, things)
        agent, direction, side = self._agent(stream, grid)
        x, y = agent // side, agent % side

        fits = jax.vmap(lambda thing, cell: self._fits(thing, cell, x, y, direction))(things, cells)
        # Farama draws descriptions until one fits: no place 1/2, each of the four places 1/8.
        weights = jnp.where(fits.any(0), jnp.tile(jnp.array([4, 1, 1, 1, 1]), 21), 0)
        order = jnp.cumsum(weights, dtype=jnp.int32)
        chosen = (order <= stream.randint(order[-1])).sum()
        matching = fits[:, chosen]
        grid = self._place(grid, cells, jnp.where(matching, (KEY + things) | TARGET, KEY + things))
        mission = chosen + 105 * (matching.sum() > 1)
        return new_state(grid, x + 1, y + 1, direction, mission), all_reachable(cells, agent, side)

    def _fits(self, thing, cell, x, y, direction) -> Bool[Array, "105"]:
        """Which of the 105 descriptions (any or one of six colours, kind, place) match an object."""
        side = self.width - 2
        away_x, away_y = cell // side - x, cell % side - y
        dx, dy = (d.astype(jnp.int32) for d in heading(direction))
        ahead, aside = away_x * dx + away_y * dy, away_y * dx - away_x * dy
        places = jnp.stack([jnp.bool_(True), aside < 0, aside > 0, ahead > 0, ahead < 0])
        color = jnp.arange(1 + len(COLORS))
        color = (color == 0) | (color - 1 == thing % 6)
        kind = jnp.arange(len(KINDS)) == thing // 6
        return (color[:, None, None] & kind[:, None] & places).reshape(-1)


def _matches(grid: UInt8[Array, "W H"], kind, color) -> Bool[Array, "W H"]:
    """Objects of this kind and colour; -1 stands for any."""
    thing = grid - jnp.uint8(KEY)
    is_object = thing < len(KINDS) * len(COLORS)
    return is_object & ((kind < 0) | (thing // 6 == kind)) & ((color < 0) | (thing % 6 == color))


def pickup_dist(id: str, strict: bool = False) -> PickupDist:
    """PickupDist in its room of 7; ``strict``: to pick up anything else fails."""
    rules = TaskRules(max_steps=49, pick_up=not strict, fetch=strict)
    return PickupDist(id, 7, 7, rules, PICKUP_DIST, num_objects=5)


def pickup_loc(id: str) -> PickupLoc:
    """PickupLoc in its room of 8."""
    return PickupLoc(id, 8, 8, TaskRules(max_steps=64, pick_up=True), PICKUP_LOC, num_objects=8)
