"""The whole state of one environment."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Int8, Int16, UInt8

from metarims.gridworld.tiles import EMPTY


class Instruction(NamedTuple):
    """What is to be done (``instructions``), and what of it is done; where it is about several objects in turn."""

    verbs: UInt8[Array, "*B 4"]
    """Two actions of the first part and two of the second; ``NOTHING`` where there is none."""
    done: Bool[Array, "*B 4"]
    """Which actions have been done; those that are nothing are done from the beginning."""
    meant: UInt8[Array, "*B W H"]
    """Bit k of a cell: what stands here is an object of action k; bit 4 + k: a thing next to which to put it."""
    known: UInt8[Array, "*B W H"]
    """The same as Farama's verifier believes it: as ``meant`` was at the start, or when something was last dropped."""
    held: UInt8[Array, "*B"]
    """The bits of what is carried."""


def no_instruction(width: int, height: int) -> Instruction:
    """Nothing to be done."""
    verbs, meant = jnp.zeros(4, jnp.uint8), jnp.zeros((width, height), jnp.uint8)
    return Instruction(verbs, jnp.ones(4, bool), meant, meant, jnp.uint8(0))


class EnvState(NamedTuple):
    """One environment (or a batch of them: every field then has the same leading axes)."""

    grid: UInt8[Array, "*B W H"]
    """Tile code of each cell [x, y], with the flags ``TARGET`` and ``LANDMARK`` in its two top bits."""
    x: Int8[Array, "*B"]
    y: Int8[Array, "*B"]
    direction: Int8[Array, "*B"]
    """0 right (+x), 1 down (+y), 2 left, 3 up."""
    carrying: UInt8[Array, "*B"]
    """The cell value of the carried object, flags included; ``EMPTY`` with empty hands."""
    mission: Int16[Array, "*B"]
    """Row of the level's table of missions."""
    step_count: Int16[Array, "*B"]
    task: UInt8[Array, "*B"]
    """Which level of a mixture this is; 0 where there is only one."""
    obstacles: Int16[Array, "*B N"]
    """Cell (x H + y) of each obstacle that moves by itself, in the order of moving; -1 if absent. Mostly N = 0."""
    contents: UInt8[Array, "*B C"] | None = None
    """Where boxes may hold something: the cell value of what is in the box on each cell x H + y and, last, in the
    carried one; ``EMPTY`` elsewhere."""
    instruction: Instruction | None = None
    """Where the task's rules alone do not say what is to be done."""
    tokens: UInt8[Array, "*B L"] | None = None
    """Where missions are too many for a table: the words of this one (``Level.vocabulary``), padded with 0."""


def new_state(
    grid: UInt8[Array, "W H"],
    x: Any,
    y: Any,
    direction: Any,
    mission: Any = 0,
    obstacles: Any = (),
    contents: UInt8[Array, " C"] | None = None,
) -> EnvState:
    """The state at the start of an episode: empty hands, clock at zero."""
    return EnvState(
        grid=grid,
        x=jnp.asarray(x, jnp.int8),
        y=jnp.asarray(y, jnp.int8),
        direction=jnp.asarray(direction, jnp.int8),
        carrying=jnp.uint8(EMPTY),
        mission=jnp.asarray(mission, jnp.int16),
        step_count=jnp.int16(0),
        task=jnp.uint8(0),
        obstacles=jnp.asarray(obstacles, jnp.int16).reshape(-1),
        contents=contents,
    )


def heading(direction: Int[Array, "*B"]) -> tuple[Int8[Array, "*B"], Int8[Array, "*B"]]:
    """Unit vector (dx, dy) of a direction."""
    dx = (direction == 0).astype(jnp.int8) - (direction == 2).astype(jnp.int8)
    dy = (direction == 1).astype(jnp.int8) - (direction == 3).astype(jnp.int8)
    return dx, dy
