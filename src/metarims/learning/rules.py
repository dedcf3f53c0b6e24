"""The learning rules: who learns how fast, as data.

A rule is a core and a list of timescales, fastest first; a timescale owns parameter groups. How a timescale learns
(span, data, epochs, optimiser) is the ``fast`` or ``slow`` section of the configuration (``config.loops``). A new rule
is a new entry of ``RULES``.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from metarims.config import GROUPS, Config, Network
from metarims.errors import unknown_name


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
    """A name in ``agents.agent.CORES``."""
    timescales: tuple[Timescale, ...]
    slow_attention: bool = False
    """Scale the attention's learning rate by ``Config.slow_factor``."""
    router: Literal["attention", "random", "fixed", "all"] | None = None
    """Who acts; None leaves it to ``Network.router``."""


def _two_speeds(core: str, fast: tuple[str, ...], slow: tuple[str, ...]) -> Rule:
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
    # Null models: what modules do when nothing chooses them, and when all act.
    "random": Rule("rim", (Timescale("fast", GROUPS),), router="random"),
    "dense": Rule("rim", (Timescale("fast", GROUPS),), router="all"),
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


def network_of(config: Config) -> Network:
    """The network that the agent's rule trains: as configured, but for the router, where the rule names one."""
    router = RULES[config.agent].router
    return dataclasses.replace(config.network, router=router) if router else config.network


_OF_CORES = {
    "rim": (
        "num_modules",
        "num_active",
        "module_dim",
        "cell",
        "input_heads",
        "key_dim",
        "value_dim",
        "communication_heads",
        "communication_dim",
        "communication_gate",
        "router",
        "key_init_scale",
        "message_init_scale",
    ),
    "lstm": ("lstm_dim",),
}
"""Settings of the network that one of our cores reads and the other does not. Cores of one's own may read any."""


def unused_settings(config: Config) -> tuple[str, ...]:
    """The settings, by dotted name, that change nothing for this agent (``slow``: all of that section)."""
    rule, idle = RULES[config.agent], []
    if len(rule.timescales) == 1:
        idle += ["slow", "slow_data"]
    if any("encoder" in timescale.groups for timescale in rule.timescales):
        idle.append("encoder_speed")
    if not rule.slow_attention:
        idle.append("slow_factor")
    if rule.router:
        idle.append("network.router")
    if rule.router == "all":
        idle.append("network.num_active")
    if rule.core in _OF_CORES:
        idle += [f"network.{name}" for core, names in _OF_CORES.items() if core != rule.core for name in names]
    if rule.core == "lstm":
        idle.append("lr_multipliers.attention")
    return tuple(idle)


def rate_factors(config: Config) -> tuple[tuple[str, float], ...]:
    """Learning rates of the groups that do not learn at their loop's own rate, as fractions of it."""
    factors = dataclasses.asdict(config.lr_multipliers)
    if RULES[config.agent].slow_attention:
        factors["attention"] *= config.slow_factor
    return tuple((group, factor) for group, factor in factors.items() if factor != 1)
