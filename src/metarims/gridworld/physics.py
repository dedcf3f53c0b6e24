"""What each action does to an environment, whatever the task."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt8

from metarims.gridworld.state import EnvState, Instruction, heading
from metarims.gridworld.tiles import BOX, CODE, DOOR, EMPTY, GOAL, KEY, LANDMARK, LAVA

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")


class ActionResult(NamedTuple):
    """What an action did."""

    entered: UInt8[Array, ""]
    """Code of the cell just entered; ``EMPTY`` where none was."""
    picked: Bool[Array, ""]
    dropped: Bool[Array, ""]
    front: UInt8[Array, ""]
    """The cell before the agent as it was before the action, flags included."""


def act(
    state: EnvState, action: Int[Array, ""], doors: bool = True, keep_landmark: Any = False
) -> tuple[EnvState, ActionResult]:
    """Turn, move, pick up, drop or toggle, and advance the clock.

    ``doors`` False leaves out the arithmetic of doors; with ``keep_landmark`` that flag belongs to the cell: it stays
    where it is when what stands there is taken away, and when something is put there.
    """
    width, height = state.grid.shape
    dx, dy = heading(state.direction)
    fx, fy = state.x + dx, state.y + dy
    front = cell_at(state, fx, fy)
    code = front & CODE
    carried = state.carrying & CODE

    can_enter = (code == EMPTY) | (code == GOAL) | (code == LAVA)
    # A box that is toggled gives way to what it holds, mostly nothing.
    is_box = (code >= BOX) & (code < DOOR)
    index = fx.astype(jnp.int32) * height + fy
    inside = jnp.uint8(EMPTY) if state.contents is None else state.contents.at[index].get(mode="clip")
    left_behind, opened_box, taken, put = jnp.uint8(EMPTY), inside, front, state.carrying
    if keep_landmark is not False:
        mark = jnp.where(keep_landmark, front & LANDMARK, 0).astype(jnp.uint8)
        left_behind, opened_box, taken, put = EMPTY | mark, inside | mark, front & ~mark, state.carrying | mark
    toggled = jnp.where(is_box, opened_box, front)
    if doors:
        is_door = code >= DOOR
        color, door_state = door_parts(code)
        can_enter |= is_door & (door_state == 0)
        unlocked = jnp.where(carried == KEY + color, front - 2, front)  # the key is kept
        swung = jnp.where(door_state == 0, front + 1, jnp.where(door_state == 1, front - 1, unlocked))
        toggled = jnp.where(is_door, swung, toggled)

    moves = (action == FORWARD) & can_enter
    empty_handed = carried == EMPTY
    picked = (action == PICKUP) & (code >= KEY) & (code < DOOR) & empty_handed
    dropped = (action == DROP) & (code == EMPTY) & ~empty_handed

    changed = jnp.where(picked, left_behind, front)
    changed = jnp.where(dropped, put, changed)
    changed = jnp.where(action == TOGGLE, toggled, changed)
    at_x = jnp.arange(width, dtype=jnp.int8)[:, None] == fx
    at_y = jnp.arange(height, dtype=jnp.int8)[None, :] == fy
    turn = (action == RIGHT).astype(jnp.int8) - (action == LEFT).astype(jnp.int8)
    after = state._replace(
        grid=jnp.where(at_x & at_y, changed, state.grid),
        x=jnp.where(moves, fx, state.x),
        y=jnp.where(moves, fy, state.y),
        direction=(state.direction + turn) & jnp.int8(3),
        carrying=jnp.where(picked, taken, jnp.where(dropped, jnp.uint8(EMPTY), state.carrying)),
        step_count=state.step_count + jnp.int16(1),
    )
    if state.contents is not None:
        held = state.contents[-1]
        here = jnp.where(picked | ((action == TOGGLE) & is_box), jnp.uint8(EMPTY), jnp.where(dropped, held, inside))
        in_hand = jnp.where(picked, inside, jnp.where(dropped, jnp.uint8(EMPTY), held))
        at_front = jnp.arange(width * height + 1) == index
        contents = jnp.where(at_front, here, state.contents).at[-1].set(in_hand)
        after = after._replace(contents=contents)
    result = ActionResult(jnp.where(moves, code, jnp.uint8(EMPTY)), picked, dropped, front)
    if state.instruction is not None:
        deleted = (action == TOGGLE) & is_box
        after = after._replace(instruction=_track(state.instruction, at_x & at_y, index, action, result, deleted))
    return after, result


def _track(
    told: Instruction, at_front: Bool[Array, "W H"], index: Any, action: Any, result: ActionResult, deleted: Any
) -> Instruction:
    """Keep book of where the objects of an instruction are after an action."""
    bits = told.meant.reshape(-1).at[index].get(mode="clip")
    left = jnp.where(result.picked | deleted, jnp.uint8(0), jnp.where(result.dropped, told.held, bits))
    meant = jnp.where(at_front, left, told.meant)
    held = jnp.where(result.picked, bits, jnp.where(result.dropped, jnp.uint8(0), told.held))
    # Farama looks again where things are when the action is to drop, and only then.
    return told._replace(meant=meant, held=held, known=jnp.where(action == DROP, meant, told.known))


def door_parts(code: UInt8[Array, "*n"]) -> tuple[UInt8[Array, "*n"], UInt8[Array, "*n"]]:
    """Colour and state of a door's code: quotient and remainder by 3, by product and shift (exact for all doors)."""
    door = (code - jnp.uint8(DOOR)).astype(jnp.uint16)
    color = (door * 171) >> 9
    return color.astype(jnp.uint8), (door - 3 * color).astype(jnp.uint8)


def cell_at(state: EnvState, x: Int[Array, ""], y: Int[Array, ""]) -> UInt8[Array, ""]:
    """The cell (x, y), flags included."""
    index = x.astype(jnp.int32) * state.grid.shape[1] + y
    return state.grid.reshape(-1).at[index].get(mode="clip")


def front_cell(state: EnvState) -> UInt8[Array, ""]:
    """The cell before the agent, flags included."""
    dx, dy = heading(state.direction)
    return cell_at(state, state.x + dx, state.y + dy)
