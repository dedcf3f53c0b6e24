"""Grids of rooms: Farama's oddities, each with the place where it has them (minigrid 3.2.0); and boxes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.gridworld import make, mix, task_rules, tiles
from metarims.gridworld.levels import babyai
from metarims.gridworld.levels.rooms import RIGHT, RoomGrid
from metarims.gridworld.physics import DROP, FORWARD, LEFT, PICKUP, TOGGLE
from metarims.gridworld.physics import RIGHT as TURN_RIGHT
from metarims.gridworld.prng import RandomStream
from metarims.gridworld.state import EnvState, new_state

pytestmark = pytest.mark.usefixtures("quick_module")

BOX, RED_KEY, BALL = (
    tiles.object_code("box", "blue"),
    tiles.object_code("key", "red"),
    tiles.object_code("ball", "grey"),
)
step = jax.jit(task_rules.step, static_argnums=0)


def play(id: str, state: EnvState, *actions: int):
    """The outcomes of several actions."""
    outcomes = []
    for action in actions:
        outcomes.append(step(make(id), state, jnp.int32(action)))
        state = outcomes[-1].state
    return outcomes


def room(contents: bool = False, size: int = 8, **cells: int) -> EnvState:
    """A walled room with the agent in its upper left corner, facing right; ``cells`` are named like c2_1 for (2, 1)."""
    grid = np.full((size, size), tiles.EMPTY, np.uint8)
    grid[[0, -1], :] = grid[:, [0, -1]] = tiles.WALL
    for name, value in cells.items():
        grid[tuple(map(int, name[1:].split("_")))] = value
    held = jnp.full(size * size + 1, tiles.EMPTY, jnp.uint8) if contents else None
    return new_state(jnp.asarray(grid), 1, 1, 0, contents=held)


def test_a_box_gives_way_to_what_it_holds_wherever_it_is_carried() -> None:
    """core/world_object.py, ``Box.toggle``."""
    state = room(contents=True, c2_1=BOX)
    assert state.contents is not None
    state = state._replace(contents=state.contents.at[2 * 8 + 1].set(RED_KEY))
    at_once = play("BabyAI-KeyInBox-v0", state, TOGGLE)[-1].state
    assert int(at_once.grid[2, 1]) == RED_KEY
    assert (np.asarray(at_once.contents) == tiles.EMPTY).all()
    carried = play("BabyAI-KeyInBox-v0", state, PICKUP, TURN_RIGHT)[-1].state
    assert int(carried.contents[-1]) == RED_KEY
    later = play("BabyAI-KeyInBox-v0", carried, DROP, TOGGLE, PICKUP)[-1].state
    assert int(later.carrying) == RED_KEY
    assert int(later.contents[-1]) == tiles.EMPTY
    emptied = play("BabyAI-KeyInBox-v0", room(contents=True, c2_1=BOX), TOGGLE)[-1].state
    assert int(emptied.grid[2, 1]) == tiles.EMPTY


def test_a_level_with_boxes_can_be_mixed_with_one_without() -> None:
    level = make("BabyAI-KeyInBox-v0")
    mixture = mix([level, make("BabyAI-GoToLocalS5N2-v0")])
    state = jax.jit(level.reset)(jax.random.key(0))
    holds = lambda state, height: divmod(int(np.argmax(state.contents != tiles.EMPTY)), height)  # noqa: E731
    assert holds(mixture.embed(0, state), mixture.height) == holds(state, level.height)
    other = mixture.embed(1, jax.jit(mixture.parts[1].reset)(jax.random.key(0)))
    assert other.contents is not None
    assert other.contents.shape == (mixture.width * mixture.height + 1,)
    assert (np.asarray(other.contents) == tiles.EMPTY).all()


def test_a_drop_as_the_first_step_is_not_noticed() -> None:
    """envs/babyai/core/verifier.py:391: what is carried from the beginning is not known before the first step."""
    target, place = BALL | tiles.TARGET, BOX | tiles.LANDMARK
    state = room(c3_1=place)._replace(carrying=jnp.uint8(target))
    assert not play("BabyAI-PutNextS5N2-v0", state, DROP)[-1].terminated
    later = play("BabyAI-PutNextS5N2-v0", state, 6, DROP)[-1]
    assert later.terminated
    assert float(later.reward) > 0


def test_only_a_door_that_is_opened_counts_and_strictly_no_other_may_be_touched() -> None:
    """envs/babyai/core/verifier.py:279 and 283."""
    target = tiles.door_code("red", "open") | tiles.TARGET
    closing, opening = play("BabyAI-OpenDoor-v0", room(c2_1=target), TOGGLE, TOGGLE)
    assert not closing.terminated
    assert float(opening.reward) > 0
    for other, fails in ((tiles.door_code("green", "closed"), True), (BOX, False)):
        outcome = play("BabyAI-OpenDoorDebug-v0", room(c2_1=other), TOGGLE)[-1]
        assert bool(outcome.terminated) is fails
        assert float(outcome.reward) == 0
    assert not play("BabyAI-OpenDoor-v0", room(c2_1=tiles.door_code("green", "closed")), TOGGLE)[-1].terminated


def test_who_faces_the_door_from_the_beginning_arrives_with_the_first_step_that_does_not_turn() -> None:
    """envs/babyai/goto.py, ``GoToObjDoor``: the doors come after the agent."""
    state = room(c2_1=tiles.door_code("red", "locked") | tiles.TARGET)
    assert not play("BabyAI-GoToObjDoor-v0", state, LEFT)[-1].terminated
    assert float(play("BabyAI-GoToObjDoor-v0", state, FORWARD)[-1].reward) > 0


def test_the_key_may_lie_behind_the_door_that_it_opens() -> None:
    """envs/babyai/unlock.py:78 and goto.py:495 compare numbers by identity, which never holds."""

    def is_inside(bits):
        rooms = RoomGrid(RandomStream(bits), 6)
        i, j, door = babyai.locked_room(rooms)
        return jax.lax.dynamic_slice(rooms.grid == tiles.KEY + door.color, (5 * i, 5 * j), (6, 6)).any()

    share = jax.jit(jax.vmap(is_inside))(jax.random.bits(jax.random.key(0), (4096, 30))).mean()
    assert float(share) == pytest.approx(1 / 9, abs=0.02)


def test_locked_doors_do_not_stand_in_the_way_but_objects_do() -> None:
    """envs/babyai/core/roomgrid_level.py:279."""

    def reachable(bits, blocked):
        rooms = RoomGrid(RandomStream(bits), 5, 2, 1)
        door = rooms.add_door(0, 0, RIGHT, 0, locked=True)
        rooms.put(5, 1, tiles.BOX)
        rooms.x, rooms.y = 1, 1
        rooms.put(jnp.where(blocked, door.x - 1, -1), door.y, BALL)
        return rooms.objects_reachable()

    check = jax.jit(jax.vmap(reachable, (0, None)))
    bits = jax.random.bits(jax.random.key(0), (64, 1))
    assert check(bits, False).all()
    assert not check(bits, True).any()
