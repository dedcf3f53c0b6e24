"""The grid as coloured text for a terminal: two characters per cell, visible cells on a lighter ground."""

from rich.text import Text

from metarims.gridworld.bridge import seen_cells
from metarims.gridworld.game import Moment
from metarims.gridworld.tiles import CODE, COLORS, DOOR, EMPTY, GOAL, KEY, LAVA, WALL

INKS = dict(zip(COLORS, ("red", "green", "blue", "magenta", "yellow", "bright_black"), strict=True))
GROUND, LIT = "grey3", "grey23"
AGENT_SIGNS = (">>", "vv", "<<", "^^")
OBJECT_SIGNS = ("o-", "()", "[]")
DOOR_SIGNS = ("| ", "||", "|x")
LEGEND = "o- key   () ball   [] box   |  open door   || closed   |x locked   ## wall   GG goal   ~~ lava"


def draw_moment(moment: Moment) -> Text:
    """The world, what is carried, the mission and the clock, as lines of text."""
    state, seen = moment.state, seen_cells(moment.state, moment.view)
    width, height = seen.shape
    text = Text(f"{moment.mission or 'no mission'}\n")
    for y in range(height):
        for x in range(width):
            sign, ink = _sign(int(state.grid[x, y]) & CODE)
            if (x, y) == (int(state.x), int(state.y)):
                sign, ink = AGENT_SIGNS[int(state.direction)], "bold red"
            text.append(sign, f"{ink} on {LIT if seen[x, y] else GROUND}")
        text.append("\n")
    carried = int(state.carrying) & CODE
    text.append(f"step {int(state.step_count)} of {moment.max_steps}")
    if carried != EMPTY:
        text.append(", carrying ")
        text.append(*_sign(carried))
    return text


def _sign(code: int) -> tuple[str, str]:
    """Two characters and their colour."""
    if code >= DOOR:
        color, state = divmod(code - DOOR, len(DOOR_SIGNS))
        return DOOR_SIGNS[state], INKS[COLORS[color]]
    if code >= KEY:
        kind, color = divmod(code - KEY, len(COLORS))
        return OBJECT_SIGNS[kind], INKS[COLORS[color]]
    return {WALL: ("##", "bright_black"), GOAL: ("GG", "green"), LAVA: ("~~", "dark_orange")}.get(code, ("  ", "white"))
