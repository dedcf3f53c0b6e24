"""The episode viewer as a self-contained HTML page."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarims.errors import UserError
from metarims.evaluation.episodes import EpisodeRecord
from metarims.gridworld.tiles import NUM_TILES
from metarims.views import page, tile_images
from metarims.views.packing import ACTIONS, PackedEpisode, pack_episode

STYLES = ("base.css", "viewer.css")
SCRIPTS = (
    "episodes.js",
    "scene.js",
    "modules.js",
    "attention.js",
    "strips.js",
    "tracks.js",
    "overview.js",
    "viewer.js",
)
DATA_ID = "viewer-data"
"""Element in which ``viewer.js`` finds the episodes."""


def write_episode_page(
    path: str | Path, episodes: Sequence[EpisodeRecord], title: str = "Episodes", labels: Sequence[str] = ()
) -> Path:
    """Write the episode viewer to ``path`` and return it.

    ``labels`` names who played each episode ("metarims, seed 0, greedy"); one per episode, or none.
    """
    if labels and len(labels) != len(episodes):
        raise UserError(f"There are {len(labels)} labels for {len(episodes)} episodes: give one per episode, or none.")
    packed = list(map(pack_episode, episodes, labels or [""] * len(episodes)))
    body = f'<main class="page">\n<h1>{html.escape(title)}</h1>\n{page.asset("viewer.html")}</main>'
    return page.write_text(path, page.assemble(title, body, STYLES, SCRIPTS, {DATA_ID: viewer_data(packed)}))


def viewer_data(episodes: Sequence[PackedEpisode]) -> dict[str, Any]:
    """The input of the viewer's scripts: tile sheets, names and episodes."""
    if not episodes:
        raise UserError("No episodes to show: record at least one.")
    most = max(episode["choices"] for episode in episodes)
    return {
        "columns": tile_images.COLUMNS,
        "sheets": {
            name: {"source": tile_images.sheet_uri(name), "tile": sheet.tile_size, "count": sheet.num_tiles}
            for name, sheet in tile_images.SHEETS.items()
        },
        "tileNames": [tile_images.tile_name(code) for code in range(NUM_TILES)],
        "actionNames": [*ACTIONS, *(f"action {index}" for index in range(len(ACTIONS), most))],
        "episodes": list(episodes),
    }
