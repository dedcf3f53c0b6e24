"""``metarims envs``, ``params`` and ``doctor``."""

import json
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from metarims.commands.common import flag, prepare_jax, status
from metarims.config import Config, Network
from metarims.core_settings import CoreSettings, RIMSettings


@dataclass(frozen=True)
class EnvsCommand:
    """List all environments: size, time limit, missions, words, and whether they are compiled or run on the host."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON, one object per environment."""

    def run(self, command: str) -> int:
        with status("Listing environments"):
            from metarims.gridworld.listing import entries, table_lines

            found = entries()
        if self.json:
            print(json.dumps([entry._asdict() for entry in found], indent=1))
            return 0
        print("\n".join(table_lines(found)))
        print(
            f"\n{len(found)} environments. steps: time limit (+: longer for long missions); -: unknown before playing; "
            "native: compiled with the agent; host: stepped by Gymnasium."
        )
        return 0


@dataclass(frozen=True)
class ParamsCommand:
    """Compare agents: parameters of each group, and operations of each part of a step."""

    agents: Annotated[tuple[str, ...], tyro.conf.Positional, flag("[AGENT ...]")] = ()
    """Agents to compare (default: all)."""
    env: str = Config.env
    """Environment id; it determines the number of actions and of missions."""
    network: Network = field(default_factory=Network)
    """Sizes of encoder and heads."""
    core: CoreSettings = field(default_factory=RIMSettings)
    """Settings of the first agent's core; agents with another core have its defaults."""

    def run(self, command: str) -> int:
        from metarims.comparison import compare_costs, print_costs

        prepare_jax()
        first = self.agents[0] if self.agents else Config.agent
        config = Config(first, env=self.env, network=self.network, core=self.core)
        print_costs(compare_costs(config, self.agents))
        return 0


@dataclass(frozen=True)
class DoctorCommand:
    """Print what a bug report needs: versions, devices, compile cache, memory, cores, free disk space."""

    def run(self, command: str) -> int:
        from metarims.runtime import describe

        with status("Looking at this machine"):
            lines = describe()
        width = max(map(len, lines))
        print("\n".join(f"{name:<{width}}  {value}" for name, value in lines.items()))
        return 0
