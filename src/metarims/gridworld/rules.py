"""The rules: what each action does, and when an episode ends."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from metarims.gridworld.tiles import BOX, CODE, DOOR, EMPTY, GOAL, KEY, LAVA, TARGET
from metarims.gridworld.world import World, heading

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")


class Rule(NamedTuple):
    """What distinguishes one task's rules from another's.

    Fields are Python values where one level is compiled alone (what it lacks then costs nothing), and arrays,
    one value per environment, where a batch mixes several tasks.
    """

    max_steps: Any
    """Steps after which the episode is truncated."""
    see_through: Any = False
    """Walls do not hide anything."""
    doors: bool = False
    """The level may hold doors."""
    walled: bool = True
    """The outermost cells are all walls."""
    face: Any = False
    """Success when a target stands in front of the agent (BabyAI's "go to")."""
    reach: Any = False
    """Goal squares end the episode with success, lava without."""


class Outcome(NamedTuple):
    """Where a step led."""

    world: World
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]


def step(env, world: World, action: Int[Array, ""], key: Any = None) -> Outcome:
    """One step of one environment (to be vmapped) of level ``env``; ``key`` only counts where worlds move."""
    del key
    return advance(env.rule_of(world), world, action)


def advance(rule: Rule, world: World, action: Int[Array, ""]) -> Outcome:
    """One step by ``rule``: first the world's own physics, then the task's success and failure."""
    world, entered = act(rule, world, action)
    success, failure = jnp.bool_(False), jnp.bool_(False)
    if rule.reach is not False:
        success |= (entered == GOAL) & rule.reach
        failure |= (entered == LAVA) & rule.reach
    if rule.face is not False:
        success |= ((front_cell(world) & TARGET) != 0) & rule.face
    count = world.step_count
    earned = 1 - 0.9 * (count.astype(jnp.float32) / rule.max_steps)
    return Outcome(world, jnp.where(success, earned, 0.0), success | failure, count >= rule.max_steps)


def front_cell(world: World) -> UInt8[Array, ""]:
    """The cell before the agent."""
    dx, dy = heading(world.direction)
    return cell_at(world, world.x + dx, world.y + dy)


def cell_at(world: World, x: Int[Array, ""], y: Int[Array, ""]) -> UInt8[Array, ""]:
    """The cell (x, y), flags included."""
    index = x.astype(jnp.int32) * world.grid.shape[1] + y
    return world.grid.reshape(-1).at[index].get(mode="clip")


def act(rule: Rule, world: World, action: Int[Array, ""]) -> tuple[World, UInt8[Array, ""]]:
    """Turn, move, pick up, drop or toggle; also returns the tile code of the cell just entered (``EMPTY`` if none)."""
    width, height = world.grid.shape
    dx, dy = heading(world.direction)
    fx, fy = world.x + dx, world.y + dy
    front = cell_at(world, fx, fy)
    code = front & CODE
    carried = world.carrying & CODE

    can_enter = (code == EMPTY) | (code == GOAL) | (code == LAVA)
    toggled = jnp.where((code >= BOX) & (code < DOOR), jnp.uint8(EMPTY), front)
    if rule.doors:
        is_door = (code >= DOOR) & (code < DOOR + 18)
        state = (code - DOOR) % 3
        can_enter |= is_door & (state == 0)
        unlocks = carried == KEY + (code - DOOR) // 3
        swing = jnp.where(state == 0, front + 1, jnp.where(state == 1, front - 1, jnp.where(unlocks, front - 2, front)))
        toggled = jnp.where(is_door, swing, toggled)

    moves = (action == FORWARD) & can_enter
    empty_handed = carried == EMPTY
    picks = (action == PICKUP) & (code >= KEY) & (code < DOOR) & empty_handed
    drops = (action == DROP) & (code == EMPTY) & ~empty_handed

    changed = jnp.where(picks, jnp.uint8(EMPTY), front)
    changed = jnp.where(drops, world.carrying, changed)
    changed = jnp.where(action == TOGGLE, toggled, changed)
    at_x = jnp.arange(width, dtype=jnp.int8)[:, None] == fx
    at_y = jnp.arange(height, dtype=jnp.int8)[None, :] == fy
    turn = (action == RIGHT).astype(jnp.int8) - (action == LEFT).astype(jnp.int8)
    after = world._replace(
        grid=jnp.where(at_x & at_y, changed, world.grid),
        x=jnp.where(moves, fx, world.x),
        y=jnp.where(moves, fy, world.y),
        direction=(world.direction + turn) & jnp.int8(3),
        carrying=jnp.where(picks, front, jnp.where(drops, jnp.uint8(EMPTY), world.carrying)),
        step_count=world.step_count + jnp.int16(1),
    )
    return after, jnp.where(moves, code, jnp.uint8(EMPTY))
