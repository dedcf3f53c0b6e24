"""The learning rules: which core learns how fast, as data.

A rule is a core and a list of timescales, fastest first; a timescale owns parameter groups. How a timescale learns
(span, data, epochs, optimiser) is the ``fast`` or ``slow`` section of the configuration (``config.loops``). A new rule
is a new entry of ``RULES``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metarims.errors import unknown_name

GROUPS = ("encoder", "modules", "attention", "policy", "value")
"""The named parameter groups of agents. A core has one or both of ``modules`` and ``attention``."""


@dataclass(frozen=True)
class Timescale:
    """The parameter groups that one loop trains; every other group is frozen in it.

    Where no timescale names ``encoder``, ``Config.encoder_speed`` places it.
    """

    name: str
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        for group in self.groups:
            if group not in GROUPS:
                raise unknown_name("group", group, GROUPS)


@dataclass(frozen=True)
class Rule:
    """A core, and the timescales that train it, fastest first."""

    core: str
    """A name in ``core_settings.CORES``."""
    timescales: tuple[Timescale, ...]
    lr_multipliers: Mapping[str, float] = field(default_factory=dict)
    """Learning rates of groups, as fractions of their loop's; ``Config.lr_multipliers`` multiplies on top."""
    core_settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the core that the rule fixes, whatever ``Config.core`` says."""

    @property
    def places_encoder(self) -> bool:
        """Whether a timescale names the encoder."""
        return any("encoder" in timescale.groups for timescale in self.timescales)


def _two_speeds(core: str, fast: tuple[str, ...], slow: tuple[str, ...]) -> Rule:
    return Rule(core, (Timescale("fast", fast), Timescale("slow", slow)))


_ALL_FAST = (Timescale("fast", GROUPS),)

RULES: dict[str, Rule] = {
    # Section 2.2: modules and policy head in the inner loop, both attentions and the value head in the outer one.
    "metarims": _two_speeds("rim", fast=("modules", "policy"), slow=("attention", "value")),
    # Section 4, baselines: everything at once.
    "modular": Rule("rim", _ALL_FAST),
    "vanilla": Rule("lstm", _ALL_FAST),
    # Section 4.4, ablations.
    "metalstm": _two_speeds("lstm", fast=("modules", "policy"), slow=("value",)),
    "metaflip": _two_speeds("rim", fast=("attention", "policy"), slow=("modules", "value")),
    "slowlr": Rule("rim", _ALL_FAST, lr_multipliers={"attention": 0.25}),
    # Null models: the active modules are drawn at random, or all are active.
    "random": Rule("rim", _ALL_FAST, core_settings={"router": "random"}),
    "dense": Rule("rim", _ALL_FAST, core_settings={"router": "all"}),
    # Beyond the paper: the value head slower still than the attention.
    "threespeeds": Rule(
        "rim",
        (
            Timescale("fast", ("modules", "policy")),
            Timescale("slow", ("attention",)),
            Timescale("slower", ("value",)),
        ),
    ),
}
