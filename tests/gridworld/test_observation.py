"""Visibility, tiles and pictures are Farama's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minigrid.core.grid import Grid
from minigrid.core.world_object import Wall

from metarims.gridworld import observation as obs
from metarims.gridworld import tiles
from metarims.gridworld.bridge import draw_atlas
from metarims.gridworld.observation import observe_codes
from metarims.gridworld.state import new_state
from metarims.gridworld.task_rules import TaskRules
from metarims.gridworld.types import VIEW

pytestmark = pytest.mark.usefixtures("quick_module")


def faramas_visibility(opaque: np.ndarray) -> np.ndarray:
    """``Grid.process_vis`` of one 7x7 grid of walls."""
    grid, wall = Grid(VIEW, VIEW), Wall()
    grid.grid = [wall if opaque[x, y] else None for y in range(VIEW) for x in range(VIEW)]
    return grid.process_vis(agent_pos=(VIEW // 2, VIEW - 1))


def compare(number: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    density = rng.uniform(0, 1, (number, 1, 1))
    opaque = rng.uniform(size=(number, VIEW, VIEW)) < density
    codes = np.where(opaque, tiles.WALL, tiles.EMPTY).astype(np.uint8)
    ours = np.asarray(jax.jit(obs.visible)(codes))
    theirs = np.stack([faramas_visibility(one) for one in opaque])
    assert (ours != theirs).sum() == 0


def test_visibility_on_random_grids() -> None:
    compare(1_000, seed=0)


@pytest.mark.slow
@pytest.mark.parity
def test_visibility_on_thirty_thousand_random_grids() -> None:
    compare(30_000, seed=1)


def test_only_walls_and_doors_that_are_not_open_hide_things() -> None:
    codes = jnp.arange(tiles.NUM_TILES, dtype=jnp.uint8)
    hiding = {tiles.WALL} | {tiles.door_code(c, s) for c in tiles.COLORS for s in ("closed", "locked")}
    assert set(np.flatnonzero(np.asarray(obs.opaque(codes)))) == hiding


def test_the_atlas_is_what_minigrid_draws() -> None:
    np.testing.assert_array_equal(tiles.TILE_ATLAS, draw_atlas())
    assert tiles.TILE_ATLAS.dtype == np.uint8
    flat = tiles.TILE_ATLAS.reshape(tiles.NUM_TILES, -1)
    assert len(np.unique(flat, axis=0)) == tiles.NUM_TILES  # no two codes look the same


def test_symbols_are_unique_but_for_the_agents_own_cell() -> None:
    assert len(np.unique(tiles.SYMBOLS[: tiles.AGENT], axis=0)) == tiles.AGENT
    own = tiles.SYMBOLS[tiles.AGENT :]
    assert own[0].tolist() == tiles.SYMBOLS[tiles.EMPTY].tolist()
    np.testing.assert_array_equal(own[1:], tiles.SYMBOLS[tiles.KEY : tiles.DOOR])


def test_pictures_put_each_tile_in_its_place() -> None:
    codes = np.random.default_rng(0).integers(0, tiles.NUM_TILES, (2, 3, VIEW, VIEW)).astype(np.uint8)
    image = np.asarray(jax.jit(obs.render)(codes))
    assert image.shape == (2, 3, 56, 56, 3)
    np.testing.assert_array_equal(image, obs.render_host(codes))
    np.testing.assert_array_equal(
        image[1, 2, 8:16, 40:48], tiles.TILE_ATLAS[codes[1, 2, 5, 1]]
    )  # row y = 1, column x = 5


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_pictures_are_the_same_one_by_one_and_all_at_once(shape: tuple[int, ...]) -> None:
    """On CPU they are drawn one by one, on accelerators all at once."""
    codes = np.random.default_rng(1).integers(0, tiles.NUM_TILES, (*shape, VIEW, VIEW)).astype(np.uint8)
    expected = obs.render_host(codes)
    np.testing.assert_array_equal(jax.jit(obs.render)(codes), expected)
    at_once = np.asarray(jax.jit(obs._strips)(codes.reshape(-1, VIEW, VIEW)))
    np.testing.assert_array_equal(at_once.reshape(expected.shape), expected)


def test_a_batch_sees_what_each_environment_sees_alone() -> None:
    """In any grid, also where the window reaches beyond it."""
    rng = np.random.default_rng(2)
    grids = rng.integers(1, tiles.AGENT, (6, 9, 8)).astype(np.uint8)
    states = [
        new_state(jnp.asarray(grid), x, y, x % 4)
        for grid, x, y in zip(grids, range(6), (1, 0, 7, 3, 4, 5), strict=True)
    ]
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    rules = TaskRules(max_steps=9, doors=True, walled=False)
    look = jax.jit(lambda states: observe_codes(rules, states))
    whole, squares = look(states), look(jax.tree.map(lambda leaf: leaf.reshape(2, 3, *leaf.shape[1:]), states))
    for index, codes in enumerate(whole):
        np.testing.assert_array_equal(codes, look(jax.tree.map(lambda leaf, i=index: leaf[i], states)))
    np.testing.assert_array_equal(whole, squares.reshape(6, VIEW, VIEW))


def test_light_climbs_round_a_walls_end() -> None:
    """A quirk of Farama's: the cell behind the wall ahead is seen from beside it."""
    codes = np.full((7, 7), tiles.EMPTY, np.uint8)
    codes[3, 5] = tiles.WALL
    assert np.asarray(jax.jit(obs.visible)(codes[None]))[0, 3, 4]


def test_the_agents_own_cell_hides_what_it_stands_on() -> None:
    grid = jnp.full((3, 3), tiles.door_code("yellow", "open"), jnp.uint8)
    codes = jax.jit(lambda state: observe_codes(TaskRules(max_steps=9, doors=True), state))(new_state(grid, 1, 1, 0))
    assert int(codes[3, 6]) == tiles.AGENT
