"""The table of evaluated agents, on a page and on the terminal: what each is, what it cost and how well it does."""

import html
from collections.abc import Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from metarims.evaluation.ablations import WORDS
from metarims.evaluation.evaluate import BACKENDS
from metarims.evaluation.tables import Summary

Setting = tuple[str, str]
"""A backend, and how the agent was evaluated there: ``("jax", "sampled, no mission")``."""


class AgentSummary(NamedTuple):
    """A row of the table."""

    label: str
    seeds: int
    frames: int
    """Environment steps per seed, over both loops."""
    evaluations: Sequence[Summary]
    parameters: int | None = None
    frames_per_second: float | None = None
    """Of training, all seeds together, without compilation."""

    @property
    def pooled(self) -> dict[Setting, Summary]:
        """The evaluation of all seeds together in each setting."""
        found: dict[Setting, Summary] = {}
        for row in self.evaluations:
            if row["seed"] != "over seeds":  # The row of all seeds comes after the single seeds'.
                found[row["backend"], _describe(row)] = row
        return found


def _describe(row: Summary) -> str:
    """The policy and each ablation, in words."""
    policy = row["policy"] if row["temperature"] == 1 else f"{row['policy']} at temperature {row['temperature']}"
    changed = [words[row[name]] for name, words in WORDS.items() if row.get(name)]
    return ", ".join([policy] + ["no memory"] * row["no_memory"] + ["no mission"] * row["no_mission"] + changed)


def _settings(agents: Sequence[AgentSummary]) -> list[Setting]:
    """All settings, by backend."""
    found = dict.fromkeys(setting for agent in agents for setting in agent.pooled)
    return sorted(found, key=lambda setting: setting[0] == "farama")


def _place(backend: str) -> str:
    return BACKENDS.get(backend, backend)


def _number(value: float | int | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def print_agents(agents: Sequence[AgentSummary], console: Console) -> None:
    """Success of each agent with its interval: policies in rows, backends in columns."""
    settings = _settings(agents)
    backends, policies = (list(dict.fromkeys(part)) for part in zip(*settings, strict=True))
    episodes = {backend: row["episodes"] for agent in agents for (backend, _), row in agent.pooled.items()}
    counts = ", ".join(f"{number:,} ({_place(name)})" for name, number in episodes.items())
    env = agents[0].evaluations[0]["env"]
    title = f"\nSuccess on {env} with Wilson's 95 % interval; episodes: {counts}"
    console.print(title, highlight=False, markup=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in ("agent", "frames", "frames/s", "policy", *map(escape, backends)):
        table.add_column(name, justify="left" if name in ("agent", "policy") else "right", no_wrap=name != "policy")
    for agent in agents:
        head = escape(agent.label), f"{agent.frames:,}", _number(agent.frames_per_second)
        for policy in policies:
            cells = (_interval(agent.pooled.get((backend, policy))) for backend in backends)
            table.add_row(*head, escape(policy), *cells)
            head = "", "", ""
        table.add_section()
    console.print(table)


def _interval(row: Summary | None) -> str:
    """As ``0.950 [.91, .97]``: the whole table fits 80 columns."""
    if row is None:
        return "–"
    low, high = (f"{row[end]:.2f}".removeprefix("0") for end in ("success_low", "success_high"))
    return f"{row['success']:.3f} [{low}, {high.replace('1.00', '1.0')}]"


def agent_table(agents: Sequence[AgentSummary]) -> str:
    """The same as markup: success with its interval as numbers, and drawn on a scale from 0 to 1."""
    settings = _settings(agents)
    names = ("Agent", "Parameters", "Seeds", "Frames", "Frames/s")
    spans = {name: sum(backend == name for backend, _ in settings) for name, _ in settings}
    groups = [
        f'<th colspan="{n}" scope="colgroup">Success, {html.escape(_place(name))}</th>' for name, n in spans.items()
    ]
    head = "".join(column_head(name, index, 2) for index, name in enumerate(names)) + "".join(groups)
    policies = "".join(_policy_head(setting, len(names) + index) for index, setting in enumerate(settings))
    last = column_head("Steps per episode", len(names) + len(settings), 2)
    rows = "\n".join(_agent_row(agent, settings) for agent in agents)
    return f"""<div class="panel results-panel">
<table class="results">
<thead>
<tr>{head}{last}</tr>
<tr>{policies}</tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>
<p class="table-note">Success rate with Wilson’s 95 % interval over the episodes of all seeds; the scale below runs from
0 to 1. Frames: environment steps per seed, over both loops. Frames/s: all seeds together, without compilation.
Steps per episode: {html.escape(", ".join((_place(settings[-1][0]), settings[-1][1])))}.</p>"""


def _agent_row(agent: AgentSummary, settings: Sequence[Setting]) -> str:
    pooled = agent.pooled
    cells = "".join(_success_cell(f"{_place(setting[0])}, {setting[1]}", pooled.get(setting)) for setting in settings)
    last = pooled.get(settings[-1])
    facts = "".join(
        labelled(name, value)
        for name, value in (
            ("Parameters", _number(agent.parameters)),
            ("Seeds", str(agent.seeds)),
            ("Frames", f"{agent.frames:,}"),
            ("Frames/s", _number(agent.frames_per_second)),
        )
    )
    length = f"{last['mean_length']:.1f}" if last else "–"
    return (
        f'<tr><th scope="row">{html.escape(agent.label)}</th>{facts}{cells}{labelled("Steps per episode", length)}</tr>'
    )


def column_head(content: str, column: int, rows: int = 1) -> str:
    """The head of a column by which ``tables.js`` sorts; ``content`` is markup."""
    tall = f' rowspan="{rows}"' * (rows > 1)
    return f'<th scope="col" data-column="{column}"{tall}>{content}</th>'


def _policy_head(setting: Setting, column: int) -> str:
    """The policy; narrow screens, which have no head of the group, show the backend too."""
    backend, policy = setting
    place = f'<span class="narrow">{html.escape(_place(backend))}: </span>'
    return column_head(f"{place}{html.escape(policy)}", column)


def labelled(label: str, content: str, attributes: str = "") -> str:
    """A cell with its column's name, which narrow screens show beside it; ``content`` is markup."""
    return f'<td data-label="{html.escape(label)}"{attributes}>{content}</td>'


def _success_cell(label: str, row: Summary | None) -> str:
    if row is None:
        return labelled(label, "–")
    success, low, high = row["success"], row["success_low"], row["success_high"]
    title = f"{row['episodes']:,} episodes, return {row['mean_return']:.3f}, {row['mean_length']:.1f} steps"
    content = (
        f'<strong>{success:.3f}</strong> <span class="interval">{low:.3f} – {high:.3f}</span>'
        f'<span class="scale" style="--low:{low:.4f};--high:{high:.4f};--at:{success:.4f}"><i></i><b></b></span>'
    )
    return labelled(label, content, f' title="{title}"')
