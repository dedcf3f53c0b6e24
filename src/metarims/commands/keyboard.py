"""``metarims play``: a person plays an environment in the terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from metarims.commands.common import enable_cache, flag, status

KEYS = {"a": 0, "d": 1, "w": 2, "p": 3, "o": 4, " ": 5, "\n": 6, "\r": 6}
"""The action of each key."""
ARROWS = {"\x1b[D": "a", "\x1b[C": "d", "\x1b[A": "w", "\x1bOD": "a", "\x1bOC": "d", "\x1bOA": "w"}
ESCAPE = "\x1b"
QUIT = ("q", ESCAPE, "\x04", "")
HELP = (
    "arrows (or a, d, w): turn left, turn right, go forward; p: pick up; o: drop; space: toggle; enter: done; "
    "n: next level; q: quit"
)


@dataclass(frozen=True)
class PlayCommand:
    """Play an environment yourself, in the terminal."""

    env: Annotated[str, flag("ID")]
    """Environment id: native, a mixture, Farama's, or your own."""
    backend: Literal["jax", "farama"] = "jax"
    """jax: the compiled environment, where there is one. farama: the original Gymnasium environment."""
    seed: int = 0
    """Seed of the first level; the next ones follow."""

    def run(self, command: str) -> int:
        with status(f"Compiling {self.env}"):
            from metarims.gridworld.game import Game
            from metarims.terminal import Terminal
            from metarims.views.world_text import LEGEND, draw_moment

            enable_cache()
            game = Game(self.env, native=self.backend == "jax")
            moment = game.reset(self.seed)
        console = Terminal(highlight=False)
        played = solved = 0
        over, earned = False, 0.0
        with _keys() as keys:
            while True:
                if sys.stdin.isatty():
                    console.clear()
                console.print(draw_moment(moment))
                if over:
                    console.print(f"The episode is over, return {earned:.3f}. Any key: next level; q: quit.")
                else:
                    console.print(f"{LEGEND}\n{HELP}", style="bright_black")
                key = next(keys)
                if key in QUIT:
                    break
                if over or key == "n":
                    moment, over, earned = game.reset(), False, 0.0
                elif KEYS.get(key, game.num_actions) < game.num_actions:
                    moment = game.step(KEYS[key])
                    earned += moment.reward
                    over = moment.terminated or moment.truncated
                    played += over
                    solved += moment.terminated and moment.reward > 0
        console.print(f"{played} episodes played, {solved} solved.")
        return 0


@contextmanager
def _keys() -> Iterator[Iterator[str]]:
    """The keys pressed, one by one, unbuffered in a terminal; the empty text at the end of the input."""
    if not sys.stdin.isatty():
        yield iter(lambda: sys.stdin.read(1), None)
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before: Any = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield _pressed(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _pressed(descriptor: int) -> Iterator[str]:
    """Each read gives one key, or a burst of plain keys; an arrow comes as three bytes at once."""
    while True:
        burst = os.read(descriptor, 64).decode(errors="replace")
        if not burst or burst == ESCAPE:
            yield burst
        elif burst.startswith(ESCAPE):
            yield ARROWS.get(burst, "?")
        else:
            yield from burst
