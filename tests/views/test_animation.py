"""Episodes as GIF and film: one frame per state, of the size and at the speed that were asked for."""

import os
import stat

import numpy as np
import pytest
from PIL import Image

from metarims.errors import UserError
from metarims.evaluation.recording import record_random
from metarims.gridworld import make
from metarims.gridworld import observation as obs
from metarims.gridworld.tiles import UNSEEN
from metarims.views import animation

pytestmark = pytest.mark.usefixtures("quick_module")


@pytest.fixture(scope="module")
def episodes():
    """Of two sizes of rooms."""
    return record_random("BabyAI-GoToObjS4-v0", "jax", 2) + record_random("MiniGrid-Empty-5x5-v0", "jax", 1)


LABELS = ["a", "b", "c [x]"]


def test_a_gif_shows_every_state(episodes, tmp_path):
    animation.write_gif(tmp_path / "x.gif", episodes, LABELS, 12, 4)
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


def test_the_grid_is_minigrids_picture_with_what_the_agent_sees(episodes):
    """Cells in the agent's view are lit, others are not."""
    episode = episodes[0]
    picture = animation.draw_grid(episode, 0, 16)
    level = make(episode.env)
    assert picture.shape == (16 * level.height, 16 * level.width, 3)
    x, y = episode.position[0]
    red = (picture[16 * y : 16 * y + 16, 16 * x : 16 * x + 16] == (255, 0, 0)).all(-1)
    assert red.any(), "the agent is a red triangle"
    dark = picture[1:15, 1:15]  # The wall in the corner.
    lit = (dark != (100, 100, 100)).any()
    codes = obs.render_host(episode.view[0])
    assert codes.shape == (56, 56, 3)
    assert lit == _sees_corner(episode)


def _sees_corner(episode) -> bool:
    (x, y), direction = map(int, episode.position[0]), int(episode.direction[0])
    dx, dy = ((1, 0), (0, 1), (-1, 0), (0, -1))[direction]
    ahead, aside = -x * dx - y * dy, x * dy - y * dx
    return 0 <= ahead < 7 and abs(aside) <= 3 and episode.view[0][aside + 3, 6 - ahead] != UNSEEN


def test_a_film_is_what_ffmpeg_gets(episodes, tmp_path, monkeypatch):
    """A program of that name keeps what it is given."""
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/film\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    animation.check_request(8, 5, film=True)
    animation.write_mp4(tmp_path / "x.mp4", episodes, LABELS, 8, 5)
    arguments = (tmp_path / "arguments").read_text().split()
    width, height = map(int, arguments[arguments.index("-s") + 1].split("x"))
    assert width % 2 == height % 2 == 0
    frames = len((tmp_path / "film").read_bytes()) / (width * height * 3)
    assert frames == sum(len(episode.actions) + 5 for episode in episodes)
    program.write_text("#!/bin/sh\necho 'no such codec' >&2; exit 1\n")
    with pytest.raises(UserError, match="no such codec"):
        animation.write_mp4(tmp_path / "x.mp4", episodes, LABELS, 8, 5)


def test_requests_that_cannot_be(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for tile, fps, film in ((3, 5, False), (999, 5, False), (32, 0, False), (32, np.nan, False), (32, 5, True)):
        with pytest.raises(UserError):
            animation.check_request(tile, fps, film=film)
