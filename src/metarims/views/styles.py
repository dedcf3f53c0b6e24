"""One colour and one kind of line for each agent's name, in every figure and on every page, and the page's legend."""

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from metarims.rules import RULES

COLORS = {
    "light": (
        *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"),
        *("#56B4E9", "#882255", "#332288", "#858500", "#70757A"),
    ),
    "dark": (
        *("#4DA3FF", "#F0803C", "#2FC79A", "#E3A0C6", "#F0C242"),
        *("#A5DFFF", "#D9467F", "#9479F0", "#A8AB2E", "#9AA1A8"),
    ),
}
"""The palettes of Okabe & Ito (2008) and Tol (2021), safe for colour-blind readers; lighter on a dark page."""
DASHES = ((), (5, 1.5), (1.2, 1.2), (6, 1.5, 1.2, 1.5), (9, 2), (3, 1.2, 1.2, 1.2, 1.2, 1.2))
"""Distinguish agents without colour: lengths of strokes and gaps, in widths of the line; none: solid."""


class Style(NamedTuple):
    """How an agent is drawn."""

    light: str
    """Colour on a light page."""
    dark: str
    dashes: tuple[float, ...]

    def color(self, theme: str) -> str:
        return self.dark if theme == "dark" else self.light

    @property
    def line(self) -> Any:
        """matplotlib's line style."""
        return (0, self.dashes) if self.dashes else "-"


def assign_styles(labels: Iterable[str]) -> dict[str, Style]:
    """The style of each label: of our agents always the same, of others the first that no agent among them has.

    A label that begins with an agent's name ("metarims, seed-0") has the agent's style, unless another has it already.
    ``labels`` are those of the whole page, so that all its figures agree.
    """
    labels, agents = list(dict.fromkeys(labels)), list(RULES)
    places = {label: agents.index(label) for label in labels if label in agents}
    for label in labels:
        name = re.split(r"[ ,]", label, maxsplit=1)[0]
        if label not in places and name in agents and agents.index(name) not in places.values():
            places[label] = agents.index(name)
    free = (place for place in range(len(agents) + len(labels)) if place not in places.values())
    for label in labels:
        if label not in places:
            places[label] = next(free)
    return {label: _style(places[label]) for label in labels}


def _style(place: int) -> Style:
    number = len(COLORS["light"])
    dashes = DASHES[(place + place // number) % len(DASHES)]
    return Style(COLORS["light"][place % number], COLORS["dark"][place % number], dashes)


def legend(styles: Mapping[str, Style], note: str = "") -> str:
    """The legend of all figures of a page, as markup."""
    keys = "".join(f"<li>{_key(style)}{html.escape(label)}</li>" for label, style in styles.items())
    said = f'<p class="hint">{html.escape(note)}</p>' if note else ""
    return f'<div class="figure-legend panel"><ul aria-label="Agents">{keys}</ul>{said}</div>'


def _key(style: Style) -> str:
    dashes = " ".join(f"{2.5 * length:g}" for length in style.dashes) or "none"
    return (
        f'<svg class="key" viewBox="0 0 44 8" aria-hidden="true" style="--light:{style.light};--dark:{style.dark}">'
        f'<path d="M1 4h42" stroke-dasharray="{dashes}" /></svg>'
    )
