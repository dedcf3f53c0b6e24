"""One self-contained HTML page on which episodes are looked at, step by step."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarims.errors import UserError
from metarims.evaluation.episodes import Episode
from metarims.gridworld.tiles import NUM_TILES
from metarims.views import packing, page, tile_images

STYLES = ("base.css", "viewer.css")
SCRIPTS = ("episodes.js", "scene.js", "mind.js", "strips.js", "tracks.js", "overview.js", "viewer.js")
DATA_ID = "viewer-data"
"""Where ``viewer.js`` looks for the episodes."""


def write_episode_page(
    path: str | Path, episodes: Sequence[Episode], title: str = "Episodes", labels: Sequence[str] = ()
) -> Path:
    """Write the episode viewer to ``path`` and return it; it needs no network and opens from disk.

    ``labels`` says in a few words what played each episode ("metarims, seed 0, greedy"); one per episode, or none.
    """
    body = f'<main class="page">\n<h1>{html.escape(title)}</h1>\n{page.asset("viewer.html")}</main>'
    data = {DATA_ID: viewer_data(episodes, labels)}
    return page.write_text(path, page.assemble(title, body, STYLES, SCRIPTS, data))


def viewer_data(episodes: Sequence[Episode], labels: Sequence[str] = ()) -> dict[str, Any]:
    """What the viewer's scripts read: the tile sheets, the words, and the packed episodes."""
    if not episodes:
        raise UserError("There is no episode to show: record at least one.")
    if labels and len(labels) != len(episodes):
        raise UserError(f"There are {len(labels)} labels for {len(episodes)} episodes: give one per episode, or none.")
    return {
        "columns": tile_images.COLUMNS,
        "sheets": {
            name: {"source": tile_images.sheet_uri(name), "tile": sheet.tile_size, "count": sheet.num_tiles}
            for name, sheet in tile_images.SHEETS.items()
        },
        "tileNames": [tile_images.tile_name(code) for code in range(NUM_TILES)],
        "actionNames": list(packing.ACTIONS),
        "episodes": [
            packing.pack_episode(episode, label)
            for episode, label in zip(episodes, labels or [""] * len(episodes), strict=True)
        ],
    }
