"""The rules: when an episode ends, and what it pays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8, UInt32

from metarims.gridworld import obstacles
from metarims.gridworld.physics import DROP, FORWARD, LEFT, PICKUP, TOGGLE, ActionResult, act, cell_at, front_cell
from metarims.gridworld.state import EnvState, heading
from metarims.gridworld.tiles import CODE, EMPTY, GOAL, LANDMARK, LAVA, TARGET


class TaskRules(NamedTuple):
    """What distinguishes one task's rules from another's.

    Fields are Python values where one level is compiled alone (what it lacks then costs nothing), and arrays, the
    values of one environment's task, where a batch mixes several.
    """

    max_steps: Any
    """Steps after which the episode is truncated."""
    see_through: Any = False
    """Walls do not hide anything."""
    doors: bool = False
    """The level may hold doors."""
    walled: bool = True
    """The outermost cells are all walls."""
    reach: Any = False
    """Goal squares end the episode with success, lava without."""
    face: Any = False
    """Success when a target stands in front of the agent (BabyAI's "go to")."""
    pick: Any = False
    """Success when a target is picked up (BabyAI's "pick up")."""
    fetch: Any = False
    """The first object picked up ends the episode; a target with success."""
    near: Any = False
    """The target must be dropped at most one cell, also diagonally, from the landmark. Any other pick-up fails, and any
    attempt to drop ends the episode, even one that is blocked."""
    next_to: Any = False
    """Success when the target is dropped beside the landmark, not diagonally (BabyAI's "put next to")."""
    recall: Any = False
    """Entering the target cell succeeds, entering the landmark cell fails; pick-up toggles instead (Memory)."""
    bump: Any = False
    """Moving into what stood in front of the agent costs -1 and ends the episode; other actions than the three moves
    turn left (Dynamic-Obstacles)."""


class StepResult(NamedTuple):
    """Where a step led."""

    world: EnvState
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]


def step(env: Any, world: EnvState, action: Int[Array, ""], key: PRNGKeyArray | None = None) -> StepResult:
    """One step of one environment (to be vmapped) of level ``env``; ``key`` only counts where obstacles move."""
    if key is None or not env.num_obstacles:
        return advance(env.rules_of(world), world, action)
    return step_with_bits(env, world, action, jax.random.bits(key, (env.num_obstacles,)))


def step_with_bits(env: Any, world: EnvState, action: Int[Array, ""], words: UInt32[Array, "N"]) -> StepResult:
    """One step of a world in which obstacles move, from one random word for each."""
    return advance(env.rules_of(world), world, action, lambda world: obstacles.wander(world, words))


def advance(
    rule: TaskRules, world: EnvState, action: Int[Array, ""], wander: Callable[[EnvState], EnvState] | None = None
) -> StepResult:
    """One step by ``rule``: obstacles move (``wander``), then the agent acts, then the task judges."""
    if rule.recall is not False:
        action = jnp.where(rule.recall & (action == PICKUP), TOGGLE, action)
    bumps = jnp.bool_(False)
    if rule.bump is not False:
        action = jnp.where(rule.bump & (action > FORWARD), LEFT, action)
        faced = front_cell(world) & CODE  # before the obstacles move: walls count as well
        bumps = (action == FORWARD) & (faced != EMPTY) & (faced != GOAL) & rule.bump
    if wander is not None:
        world = wander(world)
    after, result = act(world, action, rule.doors, rule.near)
    success, failure = judge(rule, world, after, action, result)
    count = after.step_count
    earned = 1 - 0.9 * (count.astype(jnp.float32) / rule.max_steps)
    reward = jnp.where(bumps, -1.0, jnp.where(success, earned, 0.0))
    return StepResult(after, reward, success | failure | bumps, count >= rule.max_steps)


def judge(
    rule: TaskRules, before: EnvState, after: EnvState, action: Int[Array, ""], result: ActionResult
) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
    """Has the task succeeded, has it failed?"""
    success, failure = jnp.bool_(False), jnp.bool_(False)
    if rule.reach is not False:
        success |= (result.entered == GOAL) & rule.reach
        failure |= (result.entered == LAVA) & rule.reach
    if rule.face is not False:
        success |= ((front_cell(after) & TARGET) != 0) & rule.face
    if rule.pick is not False:
        success |= result.picked & _has(result.front, TARGET) & rule.pick
    if rule.fetch is not False:
        success |= _has(after.carrying, TARGET) & rule.fetch
        failure |= ((after.carrying & CODE) != EMPTY) & rule.fetch
    if rule.near is not False or rule.next_to is not False:
        dropped_target = result.dropped & _has(before.carrying, TARGET)
        across, beside = _landmark_around(before)  # what is dropped may cover it
        success |= dropped_target & ((across & rule.near) | (beside & rule.next_to))
        wrong = (action == PICKUP) & ((after.carrying & CODE) != EMPTY) & ~_has(after.carrying, TARGET)
        failure |= (wrong | ((action == DROP) & ((before.carrying & CODE) != EMPTY))) & rule.near
    if rule.recall is not False:
        cell = cell_at(after, after.x, after.y)
        success |= _has(cell, TARGET) & rule.recall
        failure |= _has(cell, LANDMARK) & rule.recall
    return success, failure


def _has(cell: UInt8[Array, ""], flag: int) -> Bool[Array, ""]:
    return (cell & flag) != 0


def _landmark_around(world: EnvState) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
    """Is a landmark within one cell of the one in front, counting diagonals; and straight beside it?"""
    dx, dy = heading(world.direction)
    width, height = world.grid.shape
    away_x = jnp.abs(jnp.arange(width, dtype=jnp.int8) - (world.x + dx))[:, None]
    away_y = jnp.abs(jnp.arange(height, dtype=jnp.int8) - (world.y + dy))[None, :]
    marked = (world.grid & LANDMARK) != 0
    across = (marked & (away_x <= 1) & (away_y <= 1)).any()
    return across, (marked & (away_x + away_y == 1)).any()
