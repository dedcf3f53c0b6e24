"""``metarims params``: the agents side by side, by parameters and by operations."""

from collections.abc import Sequence

import jax
from rich.console import Console
from rich.table import Table

from metarims.agents.agent import make_agent
from metarims.agents.cost import Cost, measure_cost
from metarims.config import Config, core_settings, for_agent
from metarims.errors import UserError
from metarims.gridworld.registry import make_envs
from metarims.rules import GROUPS, RULES
from metarims.runs.files import describe_error
from metarims.terminal import Terminal


def compare_costs(config: Config, agents: Sequence[str] = ()) -> dict[str, Cost]:
    """What each agent (by default every one) would cost with this configuration's sizes and task."""
    envs = make_envs(config.env, 1, words=config.words)
    costs = {}
    for name in agents or RULES:
        asked = for_agent(config, name)
        counts = {"num_actions": envs.num_actions, "num_words": len(envs.vocabulary)}
        try:
            agent = make_agent(asked.network, core_settings(asked), **counts, key=jax.random.key(0))
        except Exception as error:
            raise UserError(
                f"No {name} of these sizes can be built ({describe_error(error)}): lower --network's and --core's."
            ) from error
        costs[name] = measure_cost(agent, envs.mission_tokens())
    return costs


def print_costs(costs: dict[str, Cost], console: Console | None = None) -> None:
    """A column for each set of agents that cost the same, a row for each figure."""
    table = Table(show_footer=False)
    table.add_column("")
    alike: dict[str, Cost] = {}
    for name, cost in costs.items():
        same = [names for names, other in alike.items() if other == cost]
        alike[f"{same[0]}\n{name}" if same else name] = cost
        if same:
            del alike[same[0]]
    for names in alike:
        table.add_column(names, justify="right", vertical="bottom")
    for group in GROUPS:
        table.add_row(f"parameters, {group}", *(f"{cost.parameters[group]:,}" for cost in alike.values()))
    table.add_row("parameters", *(f"{sum(cost.parameters.values()):,}" for cost in alike.values()), end_section=True)
    for part in next(iter(alike.values())).flops:
        table.add_row(f"FLOP per step, {part}", *(f"{cost.flops[part]:,}" for cost in alike.values()))
    table.add_row("FLOP per step", *(f"{sum(cost.flops.values()):,}" for cost in alike.values()), end_section=True)
    table.add_row("FLOP per call, tables", *(f"{cost.table_flops:,}" for cost in alike.values()))
    (console or Terminal()).print(table)
