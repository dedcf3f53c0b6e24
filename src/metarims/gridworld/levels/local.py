"""BabyAI's levels of one instruction in one room, drawn faster than on a grid of rooms (``babyai``)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, UInt8

from metarims.gridworld.descriptions import ANY, PLACES, matching, on_sides
from metarims.gridworld.levels.base import Drawn, MakeLevel, grid_level, walled_room
from metarims.gridworld.levels.objects import choose_pair
from metarims.gridworld.levels.placing import all_reachable, distinct, inside, nth, place_all, spread_out
from metarims.gridworld.missions import GO_TO, OBJECTS, PICKUP_DIST, PICKUP_LOC, PUT_NEXT, pair_row
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import new_state
from metarims.gridworld.tiles import COLORS, EMPTY, KEY, KINDS, TARGET, object_code

RED_BALL, GREY_KEY = object_code("ball", "red"), object_code("key", "grey")
GREY = COLORS.index("grey")


def go_to(stream: RandomStream, size: int, number: int, red_ball: bool = False, grey: bool = False) -> Drawn:
    """The agent anywhere; objects one by one, neither under nor beside it; kept if all of them can be reached.

    The mission names one of them; or the first is a red ball, which it names (``grey``: the others are grey). Equal
    objects are all targets, and the mission then says "a".
    """
    side = size - 2
    agent, direction = stream.randint_pair(side * side, 4)
    cells, things = spread_out(stream.take(number), agent, side, len(KINDS) if grey else len(OBJECTS))
    codes = GREY_KEY + 6 * things if grey else KEY + things
    if red_ball:
        codes = codes.at[0].set(RED_BALL)
    target = jnp.int32(RED_BALL) if red_ball else codes[stream.randint(number)]
    matches = codes == target
    several = matches.sum() > 1
    values = jnp.where(matches, codes | TARGET, codes)
    grid = place_all(jnp.asarray(walled_room(size, size)), *inside(cells, side), values)
    mission = several if red_ball else target - KEY + len(OBJECTS) * several
    accepted = all_reachable(cells, agent, side) if number > 1 else True
    return new_state(grid, *inside(agent, side), direction, mission), accepted


def put_next(stream: RandomStream, size: int, number: int) -> Drawn:
    """The agent, then different objects, neither under nor beside it; kept if all can be reached and the two are not
    beside each other already."""
    side = size - 2
    agent, direction = stream.randint(side * side), stream.randint(4)
    things, values, move, fixed = choose_pair(stream, number)
    cells = spread_out(stream.take(number), agent, side)
    grid = place_all(jnp.asarray(walled_room(size, size)), *inside(cells, side), values)
    a, b = cells[move], cells[fixed]
    apart = jnp.abs(a // side - b // side) + jnp.abs(a % side - b % side) > 1
    mission = pair_row(things[move], things[fixed], len(OBJECTS))
    return new_state(grid, *inside(agent, side), direction, mission), all_reachable(cells, agent, side) & apart


def pick_up(stream: RandomStream, size: int, number: int) -> Drawn:
    """Different objects, one described by kind, by colour, or by both."""
    things = distinct(stream.take(number), len(OBJECTS))
    _, grid = _place_objects(stream, size, things)
    agent, direction = _place_agent(stream, grid)
    thing = things[stream.randint(number)]
    kind, color = thing // 6, thing % 6
    select_by = stream.randint(3)
    matches = matching(grid, jnp.where(select_by == 1, ANY, kind), jnp.where(select_by == 2, ANY, color))
    several = matches.sum() > 1
    by_kind = 18 + 3 * several + kind
    by_color = 24 + jnp.where(several | (color == GREY), 0, 6) + color
    mission = jnp.where(select_by == 0, thing, jnp.where(select_by == 2, by_kind, by_color))
    grid = jnp.where(matches, grid | TARGET, grid)
    return new_state(grid, *inside(agent, size - 2), direction, mission), True


def pick_up_by_place(stream: RandomStream, size: int, number: int) -> Drawn:
    """Objects, one described by kind and perhaps by colour and by where it lies as seen from the start; kept if all can
    be reached."""
    side = size - 2
    things = stream.randints(number, len(OBJECTS))
    cells, grid = _place_objects(stream, size, things)
    agent, direction = _place_agent(stream, grid)

    fits = jax.vmap(lambda thing, cell: _fits(thing, cell, agent, direction, side))(things, cells)
    # Farama draws descriptions until one fits: no place 1/2, each of the four places 1/8.
    weights = jnp.where(fits.any(0), jnp.tile(jnp.array([4, 1, 1, 1, 1]), fits.shape[1] // len(PLACES)), 0)
    order = jnp.cumsum(weights, dtype=jnp.int32)
    chosen = (order <= stream.randint(order[-1])).sum()
    matches = fits[:, chosen]
    grid = place_all(grid, *inside(cells, side), (KEY + things) | jnp.where(matches, TARGET, 0))
    mission = chosen + fits.shape[1] * (matches.sum() > 1)
    return new_state(grid, *inside(agent, side), direction, mission), all_reachable(cells, agent, side)


def _fits(thing: Any, cell: Any, agent: Any, direction: Any, side: int) -> Bool[Array, "105"]:
    """Which of the 105 descriptions (any or one of six colours, kind, place) match an object."""
    sides = on_sides(cell // side - agent // side, cell % side - agent % side, direction)
    places = jnp.stack([jnp.bool_(True), *sides])
    color = jnp.arange(1 + len(COLORS))
    color = (color == 0) | (color - 1 == thing % 6)
    kind = jnp.arange(len(KINDS)) == thing // 6
    return (color[:, None, None] & kind[:, None] & places).reshape(-1)


def _place_objects(
    stream: RandomStream, size: int, things: Int32[Array, " n"]
) -> tuple[Int32[Array, " n"], UInt8[Array, "W H"]]:
    """Cells of these things, and the grid. Farama's agent stands in the middle until it is placed: that cell and its
    neighbours stay free."""
    side, middle = size - 2, size // 2 - 1
    cells = spread_out(stream.take(len(things)), jnp.int32(middle * side + middle), side)
    return cells, place_all(jnp.asarray(walled_room(size, size)), *inside(cells, side), KEY + things)


def _place_agent(stream: RandomStream, grid: UInt8[Array, "W H"]) -> tuple[Any, Any]:
    """Cell and direction, uniform among empty cells and directions that face no object (``RoomGrid.place_agent``)."""
    bare = grid < KEY  # nothing here, or a wall
    ahead = [bare[2:, 1:-1], bare[1:-1, 2:], bare[:-2, 1:-1], bare[1:-1, :-2]]
    valid = (jnp.stack(ahead, -1) & (grid[1:-1, 1:-1] == EMPTY)[..., None]).reshape(-1)
    pose = nth(valid, stream.randint(valid.sum(dtype=jnp.int32)))
    return pose // 4, pose % 4


def _go_to(size: int, number: int) -> MakeLevel:
    missions = GO_TO if number > 1 else GO_TO[: len(OBJECTS)]
    return grid_level(partial(go_to, number=number), size, missions, size**2, go_to=True)


def _go_to_red_ball(others: int = 7, grey: bool = False) -> MakeLevel:
    missions = ("go to the red ball", "go to a red ball")[: 1 if grey or not others else 2]
    return grid_level(partial(go_to, number=others + 1, red_ball=True, grey=grey), 8, missions, 64, go_to=True)


def _put_next(size: int, number: int) -> MakeLevel:
    return grid_level(partial(put_next, number=number), size, PUT_NEXT, 2 * size**2, put_next=True)  # two walks


_pick_up = partial(grid_level, partial(pick_up, number=5), 7, PICKUP_DIST, 49)
_SIZES = ((5, 2), (6, 2), (6, 3), (6, 4), (7, 4), (7, 5), (8, 2), (8, 3), (8, 4), (8, 5), (8, 6), (8, 7))

LEVELS: dict[str, MakeLevel] = {
    "BabyAI-GoToObj-v0": _go_to(8, 1),
    "BabyAI-GoToObjS4-v0": _go_to(4, 1),
    "BabyAI-GoToObjS6-v1": _go_to(6, 1),
    "BabyAI-GoToLocal-v0": _go_to(8, 8),
    **{f"BabyAI-GoToLocalS{size}N{number}-v0": _go_to(size, number) for size, number in _SIZES},
    "BabyAI-GoToRedBall-v0": _go_to_red_ball(),
    "BabyAI-GoToRedBallGrey-v0": _go_to_red_ball(grey=True),
    "BabyAI-GoToRedBallNoDists-v0": _go_to_red_ball(others=0),
    "BabyAI-PickupDist-v0": _pick_up(pick_up=True),
    "BabyAI-PickupDistDebug-v0": _pick_up(fetch=True),  # To pick up anything else fails.
    "BabyAI-PickupLoc-v0": grid_level(partial(pick_up_by_place, number=8), 8, PICKUP_LOC, 64, pick_up=True),
    "BabyAI-PutNextLocal-v0": _put_next(8, 8),
    "BabyAI-PutNextLocalS5N3-v0": _put_next(5, 3),
    "BabyAI-PutNextLocalS6N4-v0": _put_next(6, 4),
}
