import base64
import io

import matplotlib.image
import numpy as np
import pytest

from metarims.gridworld.bridge import draw_tile
from metarims.gridworld.tiles import AGENT, NUM_TILES, TILE_ATLAS
from metarims.views import tile_images


def picture(name: str) -> np.ndarray:
    head, data = tile_images.sheet_uri(name).split(",", 1)
    assert head == "data:image/png;base64"
    image = matplotlib.image.imread(io.BytesIO(base64.b64decode(data)), format="png")
    return np.rint(image[..., :3] * 255).astype(np.uint8)


def tile(name: str, code: int) -> np.ndarray:
    (row, column), size = divmod(code, tile_images.COLUMNS), tile_images.SHEETS[name].tile_size
    return picture(name)[row * size : (row + 1) * size, column * size : (column + 1) * size]


def test_the_pixels_are_the_atlas_that_agents_see():
    for code in range(NUM_TILES):
        np.testing.assert_array_equal(tile("pixels", code), TILE_ATLAS[code], err_msg=tile_images.tile_name(code))


@pytest.mark.parametrize(("name", "code"), [("world", 2), ("world", 8), ("world", 27), ("view", 13), ("view", 44)])
def test_a_tile_is_as_minigrid_draws_it(name, code):
    sheet = tile_images.SHEETS[name]
    np.testing.assert_array_equal(tile(name, code), draw_tile(code, sheet.tile_size, sheet.lit))


@pytest.mark.slow
@pytest.mark.parametrize("name", tile_images.SHEETS)
def test_every_sheet_is_as_minigrid_draws_it(name):
    np.testing.assert_array_equal(picture(name), tile_images.draw_sheet(tile_images.SHEETS[name]))


def test_world_tiles_are_all_different_but_for_unseen_which_is_empty():
    pictures = [tile("world", code).tobytes() for code in range(AGENT)]
    assert pictures[0] == pictures[1]
    assert len(set(pictures[1:])) == AGENT - 1


def test_names():
    assert [tile_images.tile_name(code) for code in (0, 1, 2, 3, 4)] == ["unseen", "empty", "wall", "goal", "lava"]
    assert tile_images.tile_name(5) == "red key"
    assert tile_images.tile_name(22) == "grey box"
    assert tile_images.tile_name(23) == "open red door"
    assert tile_images.tile_name(40) == "locked grey door"
    assert tile_images.tile_name(41) == "agent"
    assert tile_images.tile_name(42) == "agent carrying red key"
    assert tile_images.tile_name(59) == "agent carrying grey box"
    assert len({tile_images.tile_name(code) for code in range(NUM_TILES)}) == NUM_TILES
