"""Oddities of Farama's environments that are kept on purpose."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.errors import UserError
from metarims.gridworld import make, obstacles, task_rules, tiles
from metarims.gridworld.farama import make_farama
from metarims.gridworld.physics import DONE, DROP, FORWARD, LEFT, PICKUP, RIGHT, TOGGLE
from metarims.gridworld.state import EnvState, new_state

pytestmark = pytest.mark.usefixtures("quick_module")

BALL, BOX, KEY = (tiles.object_code(kind, "blue") for kind in ("ball", "box", "key"))


def room(size: int, x: int = 1, y: int = 1, direction: int = 0, obstacles=(), **cells: int) -> EnvState:
    """A walled room; ``cells`` are named like c2_1 for (2, 1)."""
    grid = np.full((size, size), tiles.EMPTY, np.uint8)
    grid[[0, -1], :] = grid[:, [0, -1]] = tiles.WALL
    for name, value in cells.items():
        grid[tuple(map(int, name[1:].split("_")))] = value
    return new_state(jnp.asarray(grid), x, y, direction, 0, obstacles)


step = jax.jit(task_rules.step, static_argnums=0)


def take(id: str, state: EnvState, *actions: int):
    """The outcome of the last of several actions."""
    level, result = make(id), None
    for action in actions:
        result = step(level, state, jnp.int32(action))
        state = result.state
    assert result is not None
    return result


def test_toggling_a_box_deletes_it_and_the_target_with_it() -> None:
    state = room(8, c2_1=BOX | tiles.TARGET)
    result = take("BabyAI-PickupLoc-v0", state, TOGGLE)
    assert int(result.state.grid[2, 1]) == tiles.EMPTY
    assert not result.terminated
    # What is dropped there later is no target.
    state = room(8, c2_1=BOX | tiles.TARGET)._replace(carrying=jnp.uint8(BALL))
    result = take("BabyAI-PickupLoc-v0", state, TOGGLE, DROP, PICKUP)
    assert int(result.state.carrying) == BALL
    assert not result.terminated


def test_put_near_ends_even_when_the_drop_is_blocked() -> None:
    state = room(6, x=1, y=1, direction=3)._replace(carrying=jnp.uint8(BALL | tiles.TARGET))
    result = take("MiniGrid-PutNear-6x6-N2-v0", state, DROP)
    assert result.terminated
    assert float(result.reward) == 0
    assert int(result.state.carrying) == BALL | tiles.TARGET


def test_put_near_has_five_steps_per_cell_of_side() -> None:
    assert make("MiniGrid-PutNear-6x6-N2-v0").max_steps == 30
    assert make("MiniGrid-PutNear-8x8-N3-v0").max_steps == 40


def test_the_place_in_put_near_outlives_its_box() -> None:
    state = room(6, c2_1=BOX | tiles.LANDMARK)._replace(carrying=jnp.uint8(BALL | tiles.TARGET))
    result = take("MiniGrid-PutNear-6x6-N2-v0", state, TOGGLE, DROP)
    assert result.terminated
    assert float(result.reward) == pytest.approx(1 - 0.9 * 2 / 30)


DOOR = tiles.door_code("red", "closed")


def test_go_to_door_ends_at_any_toggle_and_at_any_done() -> None:
    """minigrid/envs/gotodoor.py: ``if action == self.actions.toggle: terminated = True``."""
    id, start = "MiniGrid-GoToDoor-5x5-v0", room(5, x=2, y=2, c2_0=DOOR | tiles.LANDMARK)
    for action in (TOGGLE, DONE):
        result = take(id, start, action)
        assert result.terminated
        assert float(result.reward) == 0
    # Beside the door the direction does not matter.
    for direction in range(4):
        result = take(id, room(5, x=2, y=1, direction=direction, c2_0=DOOR | tiles.LANDMARK), DONE)
        assert result.terminated
        assert float(result.reward) == pytest.approx(1 - 0.9 / 100)
    assert float(take(id, room(5, x=1, y=1, c2_0=DOOR | tiles.LANDMARK), DONE).reward) == 0  # across the corner


def test_the_place_in_go_to_object_is_where_the_object_was_at_first() -> None:
    """minigrid/envs/gotoobject.py keeps ``self.target_pos`` when the object is carried away."""
    id, start = "MiniGrid-GoToObject-6x6-N2-v0", room(6, c2_1=BOX | tiles.LANDMARK)
    taken = take(id, start, PICKUP)
    assert not taken.terminated
    assert int(taken.state.carrying) == BOX
    assert float(take(id, start, PICKUP, DONE).reward) == pytest.approx(1 - 0.9 * 2 / 180)
    assert float(take(id, start, PICKUP, RIGHT, RIGHT, RIGHT, DONE).reward) > 0
    # Beside the object, once it lies elsewhere, done is a failure.
    assert float(take(id, room(6, x=3, y=2, c2_1=tiles.EMPTY | tiles.LANDMARK, c3_3=BOX), DONE).reward) == 0
    # What is put there later, and taken away again, does not move the place.
    bare = room(6, c2_1=tiles.EMPTY | tiles.LANDMARK)._replace(carrying=jnp.uint8(BALL))
    swapped = take(id, bare, DROP)
    assert int(swapped.state.grid[2, 1]) == BALL | tiles.LANDMARK
    assert int(take(id, swapped.state, PICKUP).state.grid[2, 1]) == tiles.EMPTY | tiles.LANDMARK


def test_red_blue_doors_needs_the_red_door_open_when_the_blue_one_opens() -> None:
    """minigrid/envs/redbluedoors.py: a red door that was opened and closed again does not count."""
    red, blue = tiles.door_code("red", "closed") | tiles.LANDMARK, tiles.door_code("blue", "closed") | tiles.TARGET
    id, start = "MiniGrid-RedBlueDoors-6x6-v0", room(6, x=2, y=2, c3_2=red, c1_2=blue)
    failed = take(id, start, LEFT, LEFT, TOGGLE)
    assert failed.terminated
    assert float(failed.reward) == 0
    assert not take(id, start, TOGGLE).terminated
    done = take(id, start, TOGGLE, LEFT, LEFT, TOGGLE)
    assert done.terminated
    assert float(done.reward) == pytest.approx(1 - 0.9 * 4 / 720)
    assert float(take(id, start, TOGGLE, TOGGLE, LEFT, LEFT, TOGGLE).reward) == 0


@pytest.mark.parametrize(("version", "always"), [("v0", False), ("v1", True)])
def test_a_ball_may_take_the_place_of_a_key_in_the_first_version_of_the_maze(version: str, always: bool) -> None:
    """minigrid/envs/obstructedmaze.py, ``add_door``: ``self.grid.set`` of the blocking ball, whatever lies there."""
    level = make(f"MiniGrid-ObstructedMaze-Full-{version}")
    states = jax.jit(jax.vmap(level.reset))(jax.random.split(jax.random.key(1), 400))
    assert states.contents is not None
    hidden = np.asarray(states.contents >= tiles.KEY).sum(1)
    assert hidden.max() == 8
    assert (hidden.min() == 8) == always


def test_step_limits_of_single_rooms() -> None:
    """LockedRoom's is ten times the side, not its square; RedBlueDoors' follows the height alone."""
    limits = {"LockedRoom": 190, "Playground": 100, "RedBlueDoors-6x6": 720, "DistShift1": 252, "GoToDoor-8x8": 256}
    for name, limit in limits.items():
        id = f"MiniGrid-{name}-v0"
        assert make(id).max_steps == make_farama(id).unwrapped.max_steps == limit


def test_outside_of_a_small_room_of_go_to_door_nothing_is_a_wall() -> None:
    level = make("MiniGrid-GoToDoor-8x8-v0")
    grids = np.asarray(jax.jit(jax.vmap(level.reset))(jax.random.split(jax.random.key(0), 64)).grid)
    corners = grids[:, -1, -1] & tiles.CODE
    assert set(np.unique(corners)) == {tiles.EMPTY, tiles.WALL}


DYNAMIC = "MiniGrid-Dynamic-Obstacles-6x6-v0"


def test_bumping_into_a_wall_costs_as_much_as_into_an_obstacle() -> None:
    result = take(DYNAMIC, room(6, direction=3, obstacles=(-1,) * 3), FORWARD)
    assert result.terminated
    assert float(result.reward) == -1


@jax.jit
def go_forward_while_an_obstacle_goes(state, cell):
    move = lambda state: obstacles.set_obstacles(state, state.obstacles.at[0].set(cell))  # noqa: E731
    return task_rules.advance(make(DYNAMIC).rules, state, jnp.int32(FORWARD), move)


def test_an_obstacle_that_has_left_still_costs() -> None:
    state = room(6, c2_1=BALL, obstacles=(2 * 6 + 1, -1, -1))
    result = go_forward_while_an_obstacle_goes(state, 3 * 6 + 2)
    assert int(result.state.x) == 2  # the way was free by then
    assert result.terminated
    assert float(result.reward) == -1


def test_an_obstacle_that_steps_in_the_way_only_blocks() -> None:
    state = room(6, c3_2=BALL, obstacles=(3 * 6 + 2, -1, -1))
    result = go_forward_while_an_obstacle_goes(state, 2 * 6 + 1)
    assert int(result.state.x) == 1
    assert not result.terminated


def test_other_actions_turn_left_among_obstacles() -> None:
    for action in (LEFT, 3, 4, 5, 6):
        assert int(take(DYNAMIC, room(6, obstacles=(-1,) * 3), action).state.direction) == 3


def test_success_on_the_last_step_is_both_terminated_and_truncated() -> None:
    state = room(8, c3_1=BALL | tiles.TARGET)._replace(step_count=jnp.int16(63))
    result = take("BabyAI-GoToLocal-v0", state, FORWARD)
    assert result.terminated
    assert result.truncated
    assert float(result.reward) == pytest.approx(0.1)


@pytest.mark.filterwarnings("ignore:.*out of date")
def test_multi_room_n4_v0_has_six_rooms() -> None:
    for version, number in (("v0", 6), ("v1", 4)):
        id = f"MiniGrid-MultiRoom-N4-S5-{version}"
        assert make(id).max_steps == 20 * number == 20 * make_farama(id).unwrapped.minNumRooms


def test_four_rooms_has_a_hundred_steps_whatever_its_size() -> None:
    for id, size in (("MiniGrid-FourRooms-v0", 19), ("MiniGrid-FourRoomsS13-v0", 13)):
        level, env = make(id), make_farama(id).unwrapped
        assert (level.width, level.height, level.max_steps) == (size, size, 100)
        assert (env.width, env.height, env.max_steps) == (size, size, 100)


def test_done_actions_of_babyai_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BABYAI_DONE_ACTIONS", "0")  # Farama takes any text for "yes"
    with pytest.raises(UserError, match="BABYAI_DONE_ACTIONS"):
        make_farama("BabyAI-GoToLocal-v0")


def test_a_given_time_limit_holds_for_every_episode() -> None:
    """BabyAI's own limit is set at each reset, unless one is given; ours is a constant of the level."""
    given = gymnasium.make("BabyAI-GoToObj-v0", max_steps=17, disable_env_checker=True).unwrapped
    free = make_farama("BabyAI-GoToObj-v0").unwrapped
    for seed in range(3):
        given.reset(seed=seed)
        free.reset(seed=seed)
        assert given.max_steps == 17
        assert free.max_steps == make("BabyAI-GoToObj-v0").max_steps == 64
