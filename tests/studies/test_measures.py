"""Measures on made-up training: what each number says where the answer is known."""

import types

import jax
import numpy as np
import pytest

from metarims.evaluation.episodes import Episode
from metarims.gridworld import VectorWorld, make
from metarims.gridworld.tiles import CODE, EMPTY, WALL
from metarims.studies import measures
from metarims.studies.catalogue import SCALES
from metarims.studies.plans import Stage, Trained

LAPTOP = SCALES["laptop"]


def lines(successes, steps=100):
    """Rows of metrics, of each seed one success per chunk; None where no episode ended, fewer where it was stopped."""
    return [
        {"seed": seed, "env_steps": steps * (chunk + 1), "success": success, "return": success}
        for seed, of_seed in successes.items()
        for chunk, success in enumerate(of_seed)
    ]


def trained(*stages, agents=()):
    return Trained(tuple(Stage(f"task {n}") for n in range(len(stages))), agents, tuple(map(lines, stages)))


def numbers(found, name):
    return {row.seed: row.value for row in found.rows if row.name == name}


def test_areas_are_over_the_same_steps_for_all_seeds():
    """A seed whose first episode ends late and one that a fault stopped early go on level to either end."""
    found = measures.learning(
        trained({1: [0.0, 0.5, 1.0, 1.0], 2: [None, 0.5, 1.0, 1.0], 3: [0.0, 0.5], 4: [None, None]}), LAPTOP
    )
    areas = numbers(found, "area of success")
    assert areas == pytest.approx({1: 2 / 3, 2: (0.5 + 0.75 + 1) / 3, 3: (0.25 + 0.5 + 0.5) / 3})
    assert numbers(found, "last success") == {1: 1.0, 2: 1.0, 3: 0.5}


def test_frames_to_recover():
    """Nine tenths of the mean of the last three chunks; never is infinite, and who had learnt nothing is left out."""
    before = {1: [0.2, 1.0, 0.9, 0.8], 2: [1.0] * 4, 3: [0.1] * 4, 4: [1.0] * 4}
    after = {1: [0.1, 0.80, 0.82, 0.9], 2: [0.1, 0.2, 0.3, 0.4], 3: [0.9] * 4, 4: [None, 0.95, 1.0, 1.0]}
    found = numbers(measures.recovery(trained(before, after), LAPTOP), "frames to recover")
    assert found == {1: 300, 2: np.inf, 4: 100}


def test_only_what_had_been_learnt_can_be_lost(monkeypatch):
    """The first seed falls from 1.0 to 0.7; the second was at 0.2 and stays there."""
    success = {("first", 1): 1.0, ("last", 1): 0.7, ("first", 2): 0.2, ("last", 2): 0.2}

    def evaluate(agents, env, scale, suffix):
        return [measures.Row(a.seed, f"success{suffix}", env, success[a.stage, a.seed]) for a in agents]

    monkeypatch.setattr(measures, "_evaluate", evaluate)
    agents = tuple([types.SimpleNamespace(seed=seed, stage=stage) for seed in (1, 2)] for stage in ("first", "last"))
    found = measures.kept(trained({1: [1.0]}, {1: [1.0]}, agents=agents), LAPTOP)
    assert numbers(found, "success lost") == {1: pytest.approx(0.3)}
    assert numbers(found, "success after stage 2") == {1: 0.7, 2: 0.2}


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
    mark = measures.find_mark(episodes(draw, [10] * 200, chosen=2))
    assert mark is not None
    assert mark.share == 1.0
    assert mark.lead == pytest.approx(0.4, abs=0.05)
    chance = measures.find_mark(episodes(draw, [10] * 200))
    assert chance is not None
    assert chance.share == pytest.approx(0.6, abs=0.12)
    assert chance.lead == pytest.approx(0.0, abs=0.12)


def test_a_module_that_always_acts_marks_nothing():
    active = np.tile(np.array([True, True, True, False, False]), (8, 1))
    mark = measures.find_mark([(active, np.arange(8) == 7)] * 10)
    assert mark == (1.0, 0.0)


def test_a_few_solved_episodes_tell_nothing():
    draw = np.random.default_rng(0)
    assert measures.find_mark(episodes(draw, [10] * 3, chosen=1)) is None
    assert measures.find_mark(episodes(draw, [1] * 10, chosen=1)) is None, "without other steps there is no lead"


def test_sets_that_keep_for_a_while_do_not_tell_of_situations_that_do():
    """Both keep for an episode, by lot: their plain mutual information is far above nought."""
    draw = np.random.default_rng(1)
    by_lot, active = [], []
    for _ in range(20):
        lengths = draw.integers(5, 30, 20)
        active = [np.tile(np.argsort(draw.random(5)) < 3, (length, 1)) for length in lengths]
        situation = [np.full(length, draw.integers(5)) for length in lengths]
        by_lot.append(measures.information_beyond_chance(active, situation))
    assert abs(np.mean(by_lot)) < 0.05
    telling = [acts @ 2 ** np.arange(5) for acts in active]
    assert measures.information_beyond_chance(active, telling) > 0.5, "a set that follows the situation tells of it"


def walk(grid, path):
    """An episode of an agent that goes along a path and does nothing else."""
    steps = len(path) - 1
    return Episode(
        env="",
        mission="",
        where="jax",
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
    np.testing.assert_array_equal(np.flatnonzero(measures.is_at_junction(walk(grid, path))), [7, 8])
    np.testing.assert_array_equal(np.flatnonzero(measures.is_last_step(walk(grid, path))), [9])


def test_the_junction_of_the_memory_task():
    """Of the cells of a level that can be reached one is a junction, in the row of the hallway."""
    state, _ = VectorWorld(make("MiniGrid-MemoryS13Random-v0"), num_envs=1).reset(jax.random.key(0))
    grid = np.asarray(state.world.grid)[0] & CODE
    reached, middle = {(1, len(grid) // 2)}, len(grid) // 2
    for _ in range(grid.size):
        around = {(x + i, y + j) for x, y in reached for i, j in ((0, 1), (1, 0), (0, -1), (-1, 0))}
        reached |= {cell for cell in around if grid[cell] == EMPTY}
    path = [*sorted(reached), (1, middle)]
    ((step,),) = [np.flatnonzero(measures.is_at_junction(walk(grid, path)))]
    assert path[step][1] == middle
    assert grid[path[step][0] + 1, middle] == WALL


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([1.0] * 5, 0.0),
        ([1, 2, 3, 4], 1.0),
        ([4, 3, 2, 1], -1.0),
        ([2.0] + [1.0] * 9, -0.52),
        ([1.0] * 9 + [2.0], 0.52),
    ],
)
def test_the_rise_of_a_value_with_ties(heights, expected):
    assert measures._rank_correlation(np.array(heights, float)) == pytest.approx(expected, abs=0.005)
