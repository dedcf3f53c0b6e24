"""The learning rules: who learns how fast, as data.

A rule is a core and a list of timescales, fastest first; a timescale owns parameter groups. How a timescale learns
(span, data, epochs, optimiser) is the ``fast`` or ``slow`` section of the configuration.
"""

from dataclasses import dataclass
from typing import Literal

from metarims.config import GROUPS


@dataclass(frozen=True)
class Timescale:
    """The parameter groups that one loop trains; every other group is frozen in it."""

    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """A core, and the timescales that train it, fastest first."""

    core: Literal["rim", "lstm"]
    timescales: tuple[Timescale, ...]
    slow_attention: bool = False
    """Scale the attention's learning rate by ``Config.slow_factor``."""


def _two_speeds(core: Literal["rim", "lstm"], fast: tuple[str, ...], slow: tuple[str, ...]) -> Rule:
    return Rule(core, (Timescale("fast", fast), Timescale("slow", slow)))


RULES: dict[str, Rule] = {
    # Section 2.2: modules and policy head in the inner loop, both attentions and the value head in the outer one.
    "metarims": _two_speeds("rim", fast=("modules", "policy"), slow=("attention", "value")),
    # Section 4, baselines: everything at once.
    "modular": Rule("rim", (Timescale("fast", GROUPS),)),
    "vanilla": Rule("lstm", (Timescale("fast", GROUPS),)),
    # Section 4.4, ablations.
    "metalstm": _two_speeds("lstm", fast=("modules", "policy"), slow=("value",)),
    "metaflip": _two_speeds("rim", fast=("attention", "policy"), slow=("modules", "value")),
    "slowlr": Rule("rim", (Timescale("fast", GROUPS),), slow_attention=True),
}
