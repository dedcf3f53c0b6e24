"""What is said of modules, on made-up episodes where the answer is known, and where the junction of a hallway is."""

from typing import Any

import jax
import numpy as np
import pytest

from metarims.evaluation import modules
from metarims.evaluation.episodes import EpisodeRecord
from metarims.gridworld import VecEnv, make
from metarims.gridworld.tiles import CODE, EMPTY, WALL


def episodes(draw, lengths, chosen=None):
    """Who acts in episodes, three of five by lot; ``chosen`` always acts at the last step."""
    made = []
    for length in lengths:
        active = np.argsort(draw.random((length, 5)), axis=1) < 3
        if chosen is not None:
            active[-1, chosen] = True
        made.append((active, np.arange(length) == length - 1))
    return made


def test_a_module_that_marks_the_end_is_found_and_chance_is_not():
    """By chance a module acts at 0.6 of the last steps, as everywhere: no maximum over modules makes it more."""
    draw = np.random.default_rng(0)
    mark = modules.find_marker_module(episodes(draw, [10] * 200, chosen=2))
    assert mark is not None
    assert (mark.module, mark.share) == (2, 1.0)
    assert mark.lead == pytest.approx(0.4, abs=0.05)
    chance = modules.find_marker_module(episodes(draw, [10] * 200))
    assert chance is not None
    assert chance.share == pytest.approx(0.6, abs=0.12)
    assert chance.lead == pytest.approx(0.0, abs=0.12)


def test_a_module_that_always_acts_marks_nothing():
    active = np.tile(np.array([True, True, True, False, False]), (8, 1))
    mark = modules.find_marker_module([(active, np.arange(8) == 7)] * 10)
    assert mark is not None
    assert (mark.share, mark.lead) == (1.0, 0.0)


def test_a_few_solved_episodes_tell_nothing():
    draw = np.random.default_rng(0)
    assert modules.find_marker_module(episodes(draw, [10] * 3, chosen=1)) is None
    assert modules.find_marker_module(episodes(draw, [1] * 10, chosen=1)) is None, (
        "without other steps there is no lead"
    )


def test_sets_that_keep_for_a_while_do_not_tell_of_situations_that_do():
    """Both keep for an episode, by lot: their plain mutual information is far above nought."""
    draw = np.random.default_rng(1)
    by_lot, active = [], []
    for _ in range(8):
        lengths = draw.integers(5, 30, 20)
        active = [np.tile(np.argsort(draw.random(5)) < 3, (length, 1)) for length in lengths]
        situation = [np.full(length, draw.integers(5)) for length in lengths]
        by_lot.append(modules.information_above_chance(active, situation))
    assert abs(np.mean(by_lot)) < 0.08
    telling = [acts @ 2 ** np.arange(5) for acts in active]
    assert modules.information_above_chance(active, telling) > 0.5, "a set that follows the situation tells of it"


def walk(grid, path):
    """An episode of an agent that goes along a path and does nothing else."""
    steps = len(path) - 1
    return EpisodeRecord(
        env="",
        mission="",
        backend="jax",
        level_seed=0,
        grid=np.tile(grid.astype(np.uint8), (steps + 1, 1, 1)),
        position=np.array(path),
        direction=np.zeros(steps + 1, int),
        view=np.zeros((steps + 1, 7, 7), np.uint8),
        actions=np.zeros(steps, int),
        rewards=np.zeros(steps),
        values=np.zeros(steps),
        policy=np.zeros((steps, 7)),
        active=np.zeros((steps, 5), bool),
        input_attention=np.zeros((steps, 5)),
        communication=np.zeros((steps, 5, 5)),
        terminated=True,
        truncated=False,
    )


def test_the_junction_of_a_hallway():
    """A room of three rows, a hallway, and its end: the agent walks through and turns to one side."""
    grid = np.full((9, 7), WALL)
    grid[1:3, 2:5] = EMPTY
    grid[3:6, 3] = EMPTY
    grid[6, 1:6] = EMPTY
    path = [(1, 3), (2, 3), (2, 2), (2, 3), (3, 3), (4, 3), (5, 3), (6, 3), (6, 3), (6, 2), (6, 1)]
    np.testing.assert_array_equal(np.flatnonzero(modules.is_at_junction(walk(grid, path))), [7, 8])
    np.testing.assert_array_equal(np.flatnonzero(modules.is_last_step(walk(grid, path))), [9])
    ended = path[:-1]
    np.testing.assert_array_equal(np.flatnonzero(modules.is_at_junction(walk(grid, ended))), [7])
    np.testing.assert_array_equal(np.flatnonzero(modules.is_last_step(walk(grid, ended))), [8])


def test_the_junction_of_the_memory_task():
    """Of the cells of a level that can be reached one is a junction, in the row of the hallway."""
    state, _ = VecEnv(make("MiniGrid-MemoryS13Random-v0"), num_envs=1).reset(jax.random.key(0))
    grid = np.asarray(state.env.grid)[0] & CODE
    reached, middle = {(1, len(grid) // 2)}, len(grid) // 2
    for _ in range(grid.size):
        around = {(x + i, y + j) for x, y in reached for i, j in ((0, 1), (1, 0), (0, -1), (-1, 0))}
        reached |= {cell for cell in around if grid[cell] == EMPTY}
    path = [*sorted(reached), (1, middle)]
    ((step,),) = [np.flatnonzero(modules.is_at_junction(walk(grid, path)))]
    assert path[step][1] == middle
    assert grid[path[step][0] + 1, middle] == WALL


def test_attention_to_the_object_that_the_mission_names():
    """Module 1 attends to the red key that is asked for, module 2 to a red ball and module 3, inactive, to the key."""
    view = np.full((4, 7, 7), EMPTY, np.uint8)
    view[:2, 1, 2], view[:3, 5, 6] = 5, 11  # A red key, in view at first; a red ball for one step more.
    attention = np.zeros((3, 3, 50), np.float32)
    attention[:, [0, 2], 7 * 1 + 2], attention[:, 1, 7 * 5 + 6], attention[..., 49] = 0.6, 0.2, 0.4
    active = np.tile(np.array([True, True, False]), (3, 1))

    def measure(mission="go to a red key", attention: Any = attention):
        known: Any = {"mission": mission, "view": view, "active": active, "element_attention": attention}
        return modules.attention_to_target(EpisodeRecord(*map(known.get, EpisodeRecord._fields)))

    found, even = measure()
    np.testing.assert_allclose(found, [0.75, 0.75])
    assert even == [0.5, 0.5]
    assert measure("get to the green goal square") == ([], [])
    assert measure(attention=None) == ([], [])
