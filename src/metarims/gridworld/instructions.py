"""BabyAI's instructions as arrays: up to four actions in two parts, bound to the objects that they mean, and judged.

An instruction is ``A``, ``A and A``, or a sequence of two such parts, of which the first must be done before the
second counts. An action is to go to, open or pick up one of a set of objects, or to put one of a set next to one of
another. The sets are those of Farama's verifier (``minigrid/envs/babyai/core/verifier.py``): objects, not positions, so
that they stay the same when things are moved. Where Farama remembers positions, we remember them too.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32

from metarims.gridworld.physics import PICKUP, TOGGLE, ActionResult, door_parts
from metarims.gridworld.state import EnvState, Instruction, heading
from metarims.gridworld.tiles import CODE, DOOR, EMPTY

NOTHING, GO_TO, OPEN, OPEN_NO_OTHER, PICK_UP, PUT_NEXT = range(6)
"""What an action is. ``OPEN_NO_OTHER`` fails when any other door is toggled."""

SLOTS = 4
"""Actions: two of the first part, then two of the second."""


class Judgement(NamedTuple):
    """Of one step."""

    done: Bool[Array, "4"]
    success: Bool[Array, ""]
    failure: Bool[Array, ""]


def num_navs_needed(instruction: Instruction) -> Int32[Array, ""]:
    """Walks that an instruction needs (BabyAI's name): one for each action, two to put something next to another."""
    verbs = instruction.verbs
    return (verbs != NOTHING).sum(-1, dtype=jnp.int32) + (verbs == PUT_NEXT).sum(-1, dtype=jnp.int32)


def judge_instruction(before: EnvState, after: EnvState, action: Any, result: ActionResult) -> Judgement:
    """What a step did for the instruction of ``before``."""
    told, now = before.instruction, after.instruction
    assert told is not None
    assert now is not None
    width, height = after.grid.shape
    dx, dy = heading(after.direction)
    x, y = (after.x + dx).astype(jnp.int32), (after.y + dy).astype(jnp.int32)
    cell = x * height + y

    def at(plane):
        return plane.reshape(-1).at[cell].get(mode="clip")

    front = at(after.grid) & CODE
    slots = jnp.arange(SLOTS, dtype=jnp.uint8)

    def means(bits, which=slots):
        return ((bits >> which) & 1) != 0

    first_done = told.done[:2].all()
    # Since when each action is looked at: what was in the hand before is unknown in the step in which that begins.
    looked = jnp.stack([before.step_count > 0] * 2 + [first_done] * 2)
    toggles_door = (action == TOGGLE) & (front >= DOOR)
    opened = toggles_door & (door_parts(front)[1] == 0) & means(at(now.meant))
    was_empty = ~looked | ((before.carrying & CODE) == EMPTY)
    away_x = jnp.abs(jnp.arange(width, dtype=jnp.int32) - x)[:, None]
    away_y = jnp.abs(jnp.arange(height, dtype=jnp.int32) - y)
    around = jnp.where(away_x + away_y == 1, now.meant, 0)
    beside = jnp.stack([((around >> (SLOTS + slot)) & 1).any() for slot in range(SLOTS)])
    achieved = [
        jnp.zeros(SLOTS, bool),
        means(at(now.known)),
        opened,
        opened,
        (action == PICKUP) & was_empty & means(now.held),
        result.dropped & looked & means(told.held) & beside,
    ]
    succeeds = jnp.stack(achieved)[told.verbs, jnp.arange(SLOTS)]
    spoils = (told.verbs == OPEN_NO_OTHER) & toggles_door & ~opened

    first = told.done[:2] | succeeds[:2]
    on_second = first.all()
    second = told.done[2:] | (succeeds[2:] & on_second)
    done = jnp.concatenate([first, second])
    watched = ~told.done & jnp.stack([jnp.bool_(True)] * 2 + [on_second] * 2)
    return Judgement(done, done.all(), (watched & spoils).any())
