"""The world as text."""

import jax.numpy as jnp
import numpy as np

from metarims.gridworld.game import Game, Moment
from metarims.gridworld.state import new_state
from metarims.gridworld.tiles import AGENT, EMPTY, TARGET, UNSEEN, WALL, door_code, object_code
from metarims.views.world_text import LIT, draw_moment


def test_every_thing_has_its_sign_and_what_is_seen_is_lit() -> None:
    grid = np.full((3, 2), EMPTY, np.uint8)
    grid[0, 0], grid[2, 0], grid[2, 1] = WALL, door_code("red", "locked"), object_code("ball", "blue") | TARGET
    view = np.full((7, 7), UNSEEN, np.uint8)
    view[3, 6], view[3, 5] = AGENT, EMPTY
    state = new_state(jnp.asarray(grid), 0, 1, 0)._replace(carrying=np.uint8(object_code("key", "green")))
    text = draw_moment(Moment(state, view, "go home", 9, 0.0, False, False))
    assert text.plain.split("\n") == ["go home", "##  |x", ">>  ()", "step 0 of 9, carrying o-"]
    lit = [text.plain[span.start : span.end] for span in text.spans if LIT in str(span.style)]
    assert lit == [">>", "  "]


def test_a_game_on_the_host_and_a_native_one_are_played_alike() -> None:
    for game in (Game("MiniGrid-Empty-5x5-v0"), Game("MiniGrid-Empty-5x5-v0", native=False)):
        game.reset(0)
        moments = [game.step(action) for action in (2, 2, 1, 2, 2)]
        assert [int(moment.state.x) for moment in moments] == [2, 3, 3, 3, 3]
        assert moments[-1].terminated
        assert moments[-1].max_steps == 100
    assert Game("MiniGrid-Unlock-v0").reset(0).mission == "open the door"
