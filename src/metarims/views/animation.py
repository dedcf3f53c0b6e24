"""Episodes as an animated picture or a film: the grid from above, with the mission and who plays below it."""

import functools
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from minigrid.core.grid import Grid
from minigrid.core.world_object import WorldObj
from PIL import Image, ImageDraw, ImageFont

from metarims.errors import UserError, invalid
from metarims.evaluation.episodes import EpisodeRecord
from metarims.gridworld.tiles import EMPTY, SYMBOLS, UNSEEN
from metarims.gridworld.types import VIEW

PAUSE = 1.0
"""Seconds for which an episode's end is shown."""
LINES = 3
"""Of text below the grid."""
SMALLEST = 10
"""Size of the smallest letters."""
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
Frame = UInt8[np.ndarray, "H W 3"]


def check_request(tile: int, fps: float, *, film: bool) -> None:
    """Raise ``UserError`` for sizes and speeds that cannot be, and where a ``film`` needs ffmpeg in vain."""
    if not 4 <= tile <= 256:
        raise invalid("tile", tile, "a cell has from 4 to 256 pixels")
    if not 0.1 <= fps <= 100:
        raise invalid("fps", fps, "from 0.1 to 100 steps a second can be shown")
    if film and shutil.which("ffmpeg") is None:
        raise UserError("--mp4 needs ffmpeg, which is not installed: install it, or use --gif.", field="mp4")


def write_gif(
    path: str | Path, episodes: Sequence[EpisodeRecord], labels: Sequence[str], tile: int, fps: float
) -> None:
    """Write the episodes, one after another, as a GIF that repeats; ``tile``: pixels of a cell."""
    stills = [(Image.fromarray(frame).quantize(128), ends) for frame, ends in draw_frames(episodes, labels, tile)]
    durations = [round(1000 * (max(PAUSE, 1 / fps) if ends else 1 / fps)) for _, ends in stills]
    frames = [frame for frame, _ in stills]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)


def write_mp4(path: Path, episodes: Sequence[EpisodeRecord], labels: Sequence[str], tile: int, fps: float) -> None:
    """The same as a film. Raises ``UserError`` if ffmpeg fails."""
    stills = list(draw_frames(episodes, labels, tile))
    height, width, _ = stills[0][0].shape
    size = ["-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "-"]
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", *size]
    film = b"".join(frame.tobytes() * (max(1, round(PAUSE * fps)) if ends else 1) for frame, ends in stills)
    done = subprocess.run([*command, "-pix_fmt", "yuv420p", str(path)], input=film, capture_output=True, check=False)
    if done.returncode:
        why = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise UserError(f"ffmpeg could not write {path}: {why}.", field="mp4", value=path)


def draw_frames(episodes: Sequence[EpisodeRecord], labels: Sequence[str], tile: int) -> Iterator[tuple[Frame, bool]]:
    """The frames of all episodes, of one even size, and whether each is an episode's last."""
    columns, rows = (max(episode.grid.shape[axis] for episode in episodes) for axis in (1, 2))
    text = max(SMALLEST, min(20, tile // 2))
    width = max(columns * tile, 20 * text)
    size = width + width % 2, rows * tile + LINES * (text + 4) + 8
    for episode, label in zip(episodes, labels, strict=True):
        missions = {0: episode.mission, **dict(episode.mission_changes)}
        length, paid, mission = len(episode.actions), 0.0, ""
        for t in range(length + 1):
            mission = missions.get(t, mission)
            paid += float(episode.rewards[t - 1]) if t else 0.0
            page = Image.new("RGB", (size[0], size[1] + size[1] % 2), "white")
            grid = Image.fromarray(draw_grid(episode, t, tile))
            page.paste(grid, ((size[0] - grid.width) // 2, 0))
            draw, top = ImageDraw.Draw(page), rows * tile + 4
            ended = ", success" if t == length and episode.success else ""
            for line in (mission, f"step {t} of {length}, return {paid:.2f}{ended}", label):
                line, font = _fit(line, text, size[0] - 8)
                draw.text((4, top), line, "black", font)
                top += text + 4
            yield np.asarray(page), t == length


def draw_grid(episode: EpisodeRecord, t: int, tile: int) -> Frame:
    """The grid at state ``t`` as minigrid draws it, with the visible cells highlighted."""
    codes = episode.grid[t]
    width, height = codes.shape
    grid = Grid(width, height)
    things = [None if code == EMPTY else WorldObj.decode(*map(int, SYMBOLS[code])) for code in codes.T.reshape(-1)]
    grid.grid = things
    (x, y), direction = map(int, episode.position[t]), int(episode.direction[t])
    dx, dy = ((1, 0), (0, 1), (-1, 0), (0, -1))[direction]
    seen = np.zeros((width, height), bool)
    for i, j in np.argwhere(episode.view[t] != UNSEEN).tolist():
        ahead, aside = VIEW - 1 - j, i - VIEW // 2
        cell = x + dx * ahead - dy * aside, y + dy * ahead + dx * aside
        if 0 <= cell[0] < width and 0 <= cell[1] < height:
            seen[cell] = True
    return grid.render(tile, (x, y), direction, seen).astype(np.uint8)


def _fit(text: str, size: int, width: int) -> tuple[str, Font]:
    """The text and its font: smaller for long text, which is shortened where that does not suffice."""
    font = _font(size)
    while size > SMALLEST and font.getlength(text) > width:
        size -= 1
        font = _font(size)
    if font.getlength(text) <= width:
        return text, font
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…", font


@functools.cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)
