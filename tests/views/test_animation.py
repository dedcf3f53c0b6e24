"""Episodes as GIF and film: one frame per state, of the size and at the speed that were asked for."""

import os
import stat

import numpy as np
import pytest
from PIL import Image

from metarims.errors import UserError
from metarims.evaluation.recording import record_random
from metarims.gridworld.farama import make_farama
from metarims.views import animation

pytestmark = pytest.mark.usefixtures("quick_module")


@pytest.fixture(scope="module")
def episodes():
    """Of two sizes of rooms."""
    return record_random("BabyAI-GoToObjS4-v0", "jax", 2) + record_random("MiniGrid-Empty-5x5-v0", "jax", 1)


LABELS = ["a", "b", "c [x]"]


def test_a_gif_shows_every_state(episodes, tmp_path):
    animation.write_gif(tmp_path / "x.gif", episodes, LABELS, 12, 4.0)
    with Image.open(tmp_path / "x.gif") as picture:
        assert picture.size[0] >= 5 * 12
        assert picture.info["loop"] == 0
        total, last = 0, []
        for index in range(picture.n_frames):
            picture.seek(index)
            total += picture.info["duration"]
            last.append(picture.info["duration"] >= 1000)
    states = sum(len(episode.actions) + 1 for episode in episodes)
    assert total == (states - 3) * 250 + 3 * 1000  # Equal frames in a row are one, which is shown as long.
    assert last[-1]


def test_the_grid_is_faramas_picture():
    """With the agent, and lit where it sees."""
    env = make_farama("MiniGrid-DoorKey-5x5-v0")
    for episode in record_random("MiniGrid-DoorKey-5x5-v0", "farama", 2):
        env.reset(seed=episode.level_seed)
        for t, action in enumerate(episode.actions[:40]):
            np.testing.assert_array_equal(animation.draw_grid(episode, t, 16), env.unwrapped.get_frame(tile_size=16))
            env.step(action)


def test_a_film_is_what_ffmpeg_gets(episodes, tmp_path, monkeypatch):
    """A program of that name keeps what it is given."""
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/film\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    animation.check_request(8, 5.0, film=True)
    animation.write_mp4(tmp_path / "x.mp4", episodes, LABELS, 8, 5.0)
    arguments = (tmp_path / "arguments").read_text().split()
    width, height = map(int, arguments[arguments.index("-s") + 1].split("x"))
    assert width % 2 == height % 2 == 0
    frames = len((tmp_path / "film").read_bytes()) / (width * height * 3)
    assert frames == sum(len(episode.actions) + 5 for episode in episodes)
    program.write_text("#!/bin/sh\necho 'no such codec' >&2; exit 1\n")
    with pytest.raises(UserError, match="no such codec"):
        animation.write_mp4(tmp_path / "x.mp4", episodes, LABELS, 8, 5.0)


def test_requests_that_cannot_be(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for tile, fps, film in ((3, 5.0, False), (999, 5.0, False), (32, 0.0, False), (32, np.nan, False), (32, 5.0, True)):
        with pytest.raises(UserError):
            animation.check_request(tile, fps, film=film)
