"""A task's rules: when an episode ends, and what it pays."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8, UInt32

from metarims.gridworld import obstacles
from metarims.gridworld.instructions import judge_instruction, num_navs_needed
from metarims.gridworld.physics import (
    DONE,
    DROP,
    FORWARD,
    LEFT,
    PICKUP,
    TOGGLE,
    ActionResult,
    act,
    cell_at,
    door_parts,
    front_cell,
)
from metarims.gridworld.precision import in_32_bits
from metarims.gridworld.state import EnvState, heading
from metarims.gridworld.tiles import CODE, DOOR, EMPTY, GOAL, LANDMARK, LAVA, TARGET


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
    reach_goal: Any = False
    """Goal squares end the episode with success, lava without."""
    go_to: Any = False
    """Success when a target stands in front of the agent (BabyAI's "go to")."""
    pick_up: Any = False
    """Success when a target is picked up (BabyAI's "pick up")."""
    open: Any = False
    """Success when a target, a door, is opened (BabyAI's "open")."""
    open_no_other: Any = False
    """Toggling any door without success fails ("open", strict)."""
    obey: Any = False
    """The state's instruction is to be done (``instructions``)."""
    per_nav: Any = False
    """``max_steps`` are for each walk that the instruction needs."""
    fetch: Any = False
    """The first object picked up ends the episode; a target with success."""
    put_near: Any = False
    """The target must be dropped at most one cell, also diagonally, from the landmark. Any other pick-up fails, and any
    attempt to drop ends the episode, even one that is blocked."""
    put_next: Any = False
    """Success when the target is dropped beside the landmark, not diagonally (BabyAI's "put next to")."""
    memory: Any = False
    """Entering the target cell succeeds, entering the landmark cell fails; pick-up toggles instead (Memory)."""
    done_beside: Any = False
    """The action done ends the episode, with success straight beside the landmark's cell, whatever stands there by
    then; toggle ends it without (GoToDoor, GoToObject)."""
    open_after: Any = False
    """Opening the target, a door, succeeds if the landmark, another door, is open then, and fails if it is not
    (RedBlueDoors)."""
    collision_ends: Any = False
    """Moving into what stood in front of the agent costs -1 and ends the episode; other actions than the three moves
    turn left (Dynamic-Obstacles)."""


class StepResult(NamedTuple):
    """What one step led to."""

    state: EnvState
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]


@in_32_bits
def step(level: Any, state: EnvState, action: Int[Array, ""], bits: UInt32[Array, " N"] | None = None) -> StepResult:
    """One step of one environment (to be vmapped) of ``level``; ``bits``: a random number for each obstacle."""
    move = None if bits is None or not level.num_obstacles else partial(obstacles.move_obstacles, bits=bits)
    return advance(level.rules_of(state), state, jax.lax.convert_element_type(action, jnp.int32), move)


@in_32_bits
def advance(
    rules: TaskRules,
    state: EnvState,
    action: Int[Array, ""],
    move_obstacles: Callable[[EnvState], EnvState] | None = None,
) -> StepResult:
    """One step by ``rules``: obstacles move (``move_obstacles``), then the agent acts, then the task is judged."""
    if rules.memory is not False:
        action = jnp.where(rules.memory & (action == PICKUP), TOGGLE, action)
    collides = jnp.bool_(False)
    if rules.collision_ends is not False:
        action = jnp.where(rules.collision_ends & (action > FORWARD), LEFT, action)
        faced = front_cell(state) & CODE  # before the obstacles move: walls count as well
        collides = (action == FORWARD) & (faced != EMPTY) & (faced != GOAL) & rules.collision_ends
    if move_obstacles is not None:
        state = move_obstacles(state)
    after, result = act(state, action, rules.doors, _either(rules.put_near, rules.done_beside))
    success, failure = judge(rules, state, after, action, result)
    if after.instruction is not None and rules.obey is not False:
        judged = judge_instruction(state, after, action, result)
        after = after._replace(instruction=after.instruction._replace(done=judged.done))
        success |= judged.success & rules.obey
        failure |= judged.failure & rules.obey
    rules = rules._replace(max_steps=time_limit(rules, state))
    count = after.step_count
    earned = 1 - 0.9 * (count.astype(jnp.float32) / rules.max_steps)
    reward = jnp.where(collides, -1.0, jnp.where(success, earned, 0.0))
    return StepResult(after, reward, success | failure | collides, count >= rules.max_steps)


def time_limit(rules: TaskRules, state: EnvState) -> Any:
    """Steps after which the episode is truncated."""
    if state.instruction is None or rules.per_nav is False:
        return rules.max_steps
    return rules.max_steps * jnp.where(rules.per_nav, num_navs_needed(state.instruction), 1)


def judge(
    rules: TaskRules, before: EnvState, after: EnvState, action: Int[Array, ""], result: ActionResult
) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
    """Has the task succeeded, has it failed?"""
    success, failure = jnp.bool_(False), jnp.bool_(False)
    if rules.reach_goal is not False:
        success |= (result.entered == GOAL) & rules.reach_goal
        failure |= (result.entered == LAVA) & rules.reach_goal
    if rules.go_to is not False:
        success |= ((front_cell(after) & TARGET) != 0) & rules.go_to
    if rules.pick_up is not False:
        success |= result.picked & _has(result.front, TARGET) & rules.pick_up
    if rules.open is not False:
        front = front_cell(after)
        toggles_door = (action == TOGGLE) & ((front & CODE) >= DOOR)
        opened = toggles_door & _is_open(front) & _has(front, TARGET)
        success |= opened & rules.open
        if rules.open_no_other is not False:
            failure |= toggles_door & ~opened & rules.open_no_other
    if rules.fetch is not False:
        success |= _has(after.carrying, TARGET) & rules.fetch
        failure |= ((after.carrying & CODE) != EMPTY) & rules.fetch
    if rules.put_near is not False or rules.put_next is not False:
        dropped_target = result.dropped & _has(before.carrying, TARGET)
        dx, dy = heading(before.direction)
        across, beside = _landmark_around(before.grid, before.x + dx, before.y + dy)  # what is dropped may cover it
        # BabyAI does not know before the first step what the agent holds: a drop as the first step is not noticed.
        beside &= before.step_count > 0
        success |= dropped_target & ((across & rules.put_near) | (beside & rules.put_next))
        wrong = (action == PICKUP) & ((after.carrying & CODE) != EMPTY) & ~_has(after.carrying, TARGET)
        failure |= (wrong | ((action == DROP) & ((before.carrying & CODE) != EMPTY))) & rules.put_near
    if rules.memory is not False:
        cell = cell_at(after, after.x, after.y)
        success |= _has(cell, TARGET) & rules.memory
        failure |= _has(cell, LANDMARK) & rules.memory
    if rules.done_beside is not False:
        beside = _landmark_around(after.grid, after.x, after.y)[1]
        success |= (action == DONE) & beside & rules.done_beside
        failure |= ((action == DONE) | (action == TOGGLE)) & rules.done_beside
    if rules.open_after is not False:
        opened = (action == TOGGLE) & _has(result.front, TARGET) & ~_is_open(result.front) & rules.open_after
        ready = (((before.grid & LANDMARK) != 0) & _is_open(before.grid)).any()
        success |= opened & ready
        failure |= opened
    return success, failure


def _either(one: Any, other: Any) -> Any:
    """One of two rules that hold; False where a level has neither."""
    return other if one is False else one if other is False else one | other


def _has(cell: UInt8[Array, ""], flag: int) -> Bool[Array, ""]:
    return (cell & flag) != 0


def _is_open(cells: UInt8[Array, "*n"]) -> Bool[Array, "*n"]:
    """Of cells that are doors."""
    return door_parts(cells & CODE)[1] == 0


def _landmark_around(
    grid: UInt8[Array, "W H"], x: Int[Array, ""], y: Int[Array, ""]
) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
    """Is a landmark within one cell of (x, y), counting diagonals; and straight beside it?"""
    width, height = grid.shape
    away_x = jnp.abs(jnp.arange(width, dtype=jnp.int8) - x)[:, None]
    away_y = jnp.abs(jnp.arange(height, dtype=jnp.int8) - y)[None, :]
    marked = (grid & LANDMARK) != 0
    across = (marked & (away_x <= 1) & (away_y <= 1)).any()
    return across, (marked & (away_x + away_y == 1)).any()
