"""Oddities of Farama's environments that are kept on purpose (section numbers: the list of quirks in the docs)."""

import contextlib
import io

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.gridworld.statistics import our_levels

from metarims.errors import UserError
from metarims.gridworld import VecEnv, make, obstacles, task_rules, tiles
from metarims.gridworld import observation as obs
from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.farama import make_farama
from metarims.gridworld.physics import DROP, FORWARD, LEFT, PICKUP, TOGGLE
from metarims.gridworld.state import EnvState, new_state

BALL, BOX, KEY = (tiles.object_code(kind, "blue") for kind in ("ball", "box", "key"))


def room(size: int, x: int = 1, y: int = 1, direction: int = 0, obstacles=(), **cells: int) -> EnvState:
    """A walled room; ``cells`` are named like c2_1 for (2, 1)."""
    grid = np.full((size, size), tiles.EMPTY, np.uint8)
    grid[[0, -1], :] = grid[:, [0, -1]] = tiles.WALL
    for name, value in cells.items():
        grid[tuple(map(int, name[1:].split("_")))] = value
    return new_state(jnp.asarray(grid), x, y, direction, 0, obstacles)


def take(id: str, world: EnvState, *actions: int):
    """The outcome of the last of several actions."""
    level, result = make(id), None
    for action in actions:
        result = task_rules.step(level, world, jnp.int32(action))
        world = result.world
    assert result is not None
    return result


def test_a_grey_object_is_never_the_grey_object() -> None:
    level = make("BabyAI-PickupDist-v0")
    worlds = our_levels(level, 4000, seed=0)
    said = {level.missions[row] for row in worlds.mission}
    assert "pick up a grey object" in said
    assert "pick up the grey object" not in level.missions
    assert {"pick up the red object", "pick up a red object"} <= said


@pytest.mark.parametrize("id", ["BabyAI-PickupDist-v0", "BabyAI-PickupLoc-v0"])
def test_the_middle_of_pickup_rooms_stays_free(id: str) -> None:
    level = make(id)
    grids = our_levels(level, 3000, seed=1).grid & tiles.CODE
    middle = level.width // 2
    for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        assert (grids[:, middle + dx, middle + dy] == tiles.EMPTY).all()
    assert (grids[:, middle + 1, middle + 1] != tiles.EMPTY).any()


def test_toggling_a_box_deletes_it_and_the_target_with_it() -> None:
    world = room(8, c2_1=BOX | tiles.TARGET)
    result = take("BabyAI-PickupLoc-v0", world, TOGGLE)
    assert int(result.world.grid[2, 1]) == tiles.EMPTY
    assert not result.terminated
    # What is dropped there later is no target.
    world = room(8, c2_1=BOX | tiles.TARGET)._replace(carrying=jnp.uint8(BALL))
    result = take("BabyAI-PickupLoc-v0", world, TOGGLE, DROP, PICKUP)
    assert int(result.world.carrying) == BALL
    assert not result.terminated


def test_put_near_ends_even_when_the_drop_is_blocked() -> None:
    world = room(6, x=1, y=1, direction=3)._replace(carrying=jnp.uint8(BALL | tiles.TARGET))
    result = take("MiniGrid-PutNear-6x6-N2-v0", world, DROP)
    assert result.terminated
    assert float(result.reward) == 0
    assert int(result.world.carrying) == BALL | tiles.TARGET


def test_put_near_has_five_steps_per_cell_of_side() -> None:
    assert make("MiniGrid-PutNear-6x6-N2-v0").max_steps == 30
    assert make("MiniGrid-PutNear-8x8-N3-v0").max_steps == 40


def test_the_place_in_put_near_outlives_its_box() -> None:
    world = room(6, c2_1=BOX | tiles.LANDMARK)._replace(carrying=jnp.uint8(BALL | tiles.TARGET))
    result = take("MiniGrid-PutNear-6x6-N2-v0", world, TOGGLE, DROP)
    assert result.terminated
    assert float(result.reward) == pytest.approx(1 - 0.9 * 2 / 30)


DYNAMIC = "MiniGrid-Dynamic-Obstacles-6x6-v0"


def test_bumping_into_a_wall_costs_as_much_as_into_an_obstacle() -> None:
    result = take(DYNAMIC, room(6, direction=3, obstacles=(-1,) * 3), FORWARD)
    assert result.terminated
    assert float(result.reward) == -1


def test_an_obstacle_that_has_left_still_costs() -> None:
    world = room(6, c2_1=BALL, obstacles=(2 * 6 + 1, -1, -1))
    leave = lambda world: obstacles.put(world, world.obstacles.at[0].set(3 * 6 + 2))  # noqa: E731
    result = task_rules.advance(make(DYNAMIC).rule, world, jnp.int32(FORWARD), leave)
    assert int(result.world.x) == 2  # the way was free by then
    assert result.terminated
    assert float(result.reward) == -1


def test_an_obstacle_that_steps_in_the_way_only_blocks() -> None:
    world = room(6, c3_2=BALL, obstacles=(3 * 6 + 2, -1, -1))
    enter = lambda world: obstacles.put(world, world.obstacles.at[0].set(2 * 6 + 1))  # noqa: E731
    result = task_rules.advance(make(DYNAMIC).rule, world, jnp.int32(FORWARD), enter)
    assert int(result.world.x) == 1
    assert not result.terminated


@pytest.mark.parametrize("action", [3, 4, 5, 6])
def test_other_actions_turn_left_among_obstacles(action: int) -> None:
    result = take(DYNAMIC, room(6, obstacles=(-1,) * 3), action)
    assert int(result.world.direction) == int(take(DYNAMIC, room(6, obstacles=(-1,) * 3), LEFT).world.direction) == 3


def test_success_on_the_last_step_is_both_terminated_and_truncated() -> None:
    world = room(8, c3_1=BALL | tiles.TARGET)._replace(step_count=jnp.int16(63))
    result = take("BabyAI-GoToLocal-v0", world, FORWARD)
    assert result.terminated
    assert result.truncated
    assert float(result.reward) == pytest.approx(0.1)


@pytest.mark.filterwarnings("ignore:.*out of date")
def test_multi_room_n4_v0_has_six_rooms() -> None:
    doors = {}
    for version in ("v0", "v1"):
        grids = our_levels(make(f"MiniGrid-MultiRoom-N4-S5-{version}"), 50, seed=0).grid
        doors[version] = set(((grids >= tiles.DOOR) & (grids < tiles.AGENT)).sum((1, 2)))
    assert doors == {"v0": {5}, "v1": {3}}


def test_four_rooms_has_a_hundred_steps_whatever_its_size() -> None:
    for id, size in (("MiniGrid-FourRooms-v0", 19), ("MiniGrid-FourRoomsS13-v0", 13)):
        level, env = make(id), make_farama(id).unwrapped
        assert (level.width, level.height, level.max_steps) == (size, size, 100)
        assert (env.width, env.height, env.max_steps) == (size, size, 100)


def test_one_sees_round_some_walls() -> None:
    """Light climbs diagonally past a wall's end: the cell behind the wall ahead is seen from beside it."""
    codes = np.full((7, 7), tiles.EMPTY, np.uint8)
    codes[3, 5] = tiles.WALL
    assert np.asarray(obs.visible(jnp.asarray(codes)))[3, 4]


def test_nothing_is_printed_where_farama_prints_rejections() -> None:
    heard = io.StringIO()
    env = make_farama("BabyAI-GoToLocal-v0")
    with contextlib.redirect_stdout(heard):
        for seed in range(40):
            env.reset(seed=seed)
    assert "rejected" in heard.getvalue()
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence):
        our_levels(make("BabyAI-GoToLocal-v0"), 100, seed=0)
    assert silence.getvalue() == ""


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


def test_several_farama_environments_run_without_shared_memory() -> None:
    """Gymnasium's asynchronous batches fail on missions; ours is one array program and needs none."""
    vector = VecEnv(make("BabyAI-GoToObj-v0"), 3)
    _, observation = jax.jit(vector.reset)(jax.random.key(0))
    assert observation.mission.shape == (3,)


def test_the_agents_own_cell_hides_what_it_stands_on() -> None:
    env = make_farama("MiniGrid-DoorKey-5x5-v0").unwrapped
    env.reset(seed=0)
    world = state_from_farama(env)
    door = np.argwhere((world.grid & tiles.CODE) == tiles.door_code("yellow", "locked"))[0]
    world.grid[tuple(door)] = tiles.door_code("yellow", "open")
    world = jax.tree.map(jnp.asarray, world)._replace(x=jnp.int8(door[0]), y=jnp.int8(door[1]))
    assert int(obs.observe(make("MiniGrid-DoorKey-5x5-v0"), world).codes[3, 6]) == tiles.AGENT
