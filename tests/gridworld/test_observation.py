"""Visibility, tiles and pictures are Farama's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minigrid.core.grid import Grid
from minigrid.core.world_object import Wall

from metarims.gridworld import make, tiles
from metarims.gridworld import observation as obs
from metarims.gridworld.bridge import draw_atlas
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
    compare(2_000, seed=0)


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
    image = np.asarray(obs.render(jnp.asarray(codes)))
    assert image.shape == (2, 3, 56, 56, 3)
    np.testing.assert_array_equal(image, obs.render_host(codes))
    np.testing.assert_array_equal(
        image[1, 2, 8:16, 40:48], tiles.TILE_ATLAS[codes[1, 2, 5, 1]]
    )  # row y = 1, column x = 5


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3)])
def test_pictures_are_the_same_one_by_one_and_all_at_once(shape: tuple[int, ...]) -> None:
    """On CPU they are drawn one by one, on accelerators all at once."""
    codes = np.random.default_rng(1).integers(0, tiles.NUM_TILES, (*shape, VIEW, VIEW)).astype(np.uint8)
    expected = obs.render_host(codes)
    np.testing.assert_array_equal(obs.render(jnp.asarray(codes)), expected)
    at_once = np.asarray(obs._strips(jnp.asarray(codes.reshape(-1, VIEW, VIEW))))
    np.testing.assert_array_equal(at_once.reshape(expected.shape), expected)


def test_a_batch_sees_what_each_world_sees_alone() -> None:
    level = make("MiniGrid-MultiRoom-N4-S5-v1")
    worlds = jax.jit(jax.vmap(level.reset))(jax.random.split(jax.random.key(0), 6))
    whole = obs.observe(level, worlds)
    alone = jax.vmap(lambda world: obs.observe(level, world))(worlds)
    squares = obs.observe(level, jax.tree.map(lambda leaf: leaf.reshape(2, 3, *leaf.shape[1:]), worlds))
    np.testing.assert_array_equal(whole.codes, alone.codes)
    np.testing.assert_array_equal(whole.codes, squares.codes.reshape(6, VIEW, VIEW))
