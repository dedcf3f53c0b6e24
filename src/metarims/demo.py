"""The demonstration: three agents learn one BabyAI task, prove it in the real environment, and are laid open to view.

Each agent is an ordinary run in a folder of its own, so a second call goes on from the first or uses it again.
"""

import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from metarims.evaluation.evaluate import Ablation
from metarims.evaluation.recording import record_episodes
from metarims.evaluation.statistics import Interval
from metarims.evaluation.tables import POLICIES, Result, evaluate_agents, pooled
from metarims.fields import to_json
from metarims.presets import DEMO, Demo
from metarims.runs import provenance
from metarims.runs.export import SavedAgent, named_arrays
from metarims.runs.files import writing
from metarims.runs.folder import load_agents
from metarims.runs.parallel import count_workers, train_all
from metarims.runs.progress import duration
from metarims.runs.signals import StopRequest
from metarims.terminal import Terminal
from metarims.views.metrics import read_metrics, read_speed
from metarims.views.report import AgentResult, Measured, Report, ShownEpisode, write_report

PLACES = ("jax", "farama")


def run_demo(folder: Path, demo: Demo = DEMO, console: Console | None = None) -> int:
    """Train, evaluate, print the table and write ``report.html``; returns the exit code."""
    console, began = console or Terminal(), time.perf_counter()
    provenance.commit()  # Before the checkout may change.
    jobs = [(config, folder / config.agent) for config in demo.configs]
    with StopRequest() as stop:
        if not all(train_all(jobs, count_workers(), console, stop).values()):
            console.print("Stopped and saved. The same command goes on.", highlight=False)
            return 0
    saved = {config.agent: load_agents(folder / config.agent) for config in demo.configs}
    results, wordless = {}, {}
    for agent, agents in saved.items():
        console.print(f"Evaluating {agent} in both worlds ...", highlight=False)
        shares = {"jax": -(-demo.episodes // len(agents)), "farama": -(-demo.farama_episodes // len(agents))}
        results[agent] = [r for place in PLACES for r in evaluate_agents(agents, None, place, shares[place], POLICIES)]
        no_mission = evaluate_agents(agents, None, "jax", shares["jax"], ("sampled",), ablation=Ablation(hears=False))
        wordless[agent] = pooled(no_mission, "sampled").value
    rows = [describe_agent(agent, saved[agent], results[agent], folder / agent) for agent in saved]
    words = describe_wordless(wordless)
    print_table(rows, results, console)
    console.print(words, highlight=False)
    path = folder / "report.html"
    with writing("the report", folder, advice="Free some space, or name another folder with --out."):
        write_report(path, make_report(folder, demo, rows, saved, words, time.perf_counter() - began))
    took = duration(time.perf_counter() - began)
    console.print(f"Report: {path} (open it in a browser). Whole demo: {took}.", markup=False)
    return 0


def describe_agent(agent: str, saved: Sequence[SavedAgent], results: Sequence[Result], run: Path) -> AgentResult:
    """One row of the tables."""
    first = saved[0]
    return AgentResult(
        agent=agent,
        parameters=sum(leaf.size for leaf in named_arrays(first.agent).values()),
        seeds=first.config.seeds,
        frames=first.env_steps,
        frames_per_second=read_speed(run / "speed.jsonl"),
        measured=tuple(measure(results, place, policy) for place in PLACES for policy in POLICIES),
    )


def measure(results: Sequence[Result], place: str, policy: str) -> Measured:
    """All seeds' episodes in one place under one policy."""
    chosen = [result for result in results if result.where == place and result.policy == policy]
    success = pooled(chosen, policy)
    returns = np.concatenate([result.evaluation.returns for result in chosen])
    lengths = np.concatenate([result.evaluation.lengths for result in chosen])
    return Measured(place, policy, len(returns), *success, float(returns.mean()), float(lengths.mean()))


def print_table(rows: Sequence[AgentResult], results: dict[str, list[Result]], console: Console) -> None:
    """Frames, speed, and success in both worlds with intervals."""
    env = next(iter(results.values()))[0].env
    ours, farama = (next(m.episodes for m in rows[0].measured if m.where == place) for place in PLACES)
    console.print(
        f"\nSuccess on {env} with Wilson's 95 % interval: {ours:,} new levels in our world, {farama:,} in Farama's",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in ("agent", "frames", "frames/s", "policy", "our world", "Farama's"):
        table.add_column(name, justify="left" if name in ("agent", "policy") else "right", no_wrap=True)
    for row in rows:
        for policy in POLICIES:
            head = (row.agent, f"{row.frames:,}", f"{row.frames_per_second:,.0f}") if policy == "greedy" else ("",) * 3
            success = (_short(pooled([r for r in results[row.agent] if r.where == place], policy)) for place in PLACES)
            table.add_row(*head, policy, *success)
        table.add_section()
    console.print(table)


def _short(interval: Interval) -> str:
    """As ``0.950 [.91, .97]``: the whole table fits 80 columns."""
    low, high = (f"{end:.2f}".removeprefix("0") for end in (interval.low, interval.high))
    return f"{interval.value:.3f} [{low}, {high.replace('1.00', '1.0')}]"


def make_report(
    folder: Path,
    demo: Demo,
    rows: Sequence[AgentResult],
    saved: dict[str, list[SavedAgent]],
    words: str,
    seconds: float,
) -> Report:
    """The page's content."""
    env = demo.configs[0].env
    return Report(
        title=f"Three agents on {env}",
        summary=f"{summarize(env, rows)} {words}",
        env=env,
        agents=tuple(rows),
        metrics=[line for agent in saved for line in read_metrics(folder / agent)],
        episodes=tuple(shown for agent in saved for shown in show(saved[agent][0], demo.shown)),
        details={
            "command": "metarims demo",
            "wall time of this call": duration(seconds),
            "metarims": provenance.release(),
            "jax": version("jax"),
            "minigrid": version("minigrid"),
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {', '.join(device.device_kind for device in jax.devices())}",
        },
        settings={config.agent: to_json(config) for config in demo.configs},
    )


def summarize(env: str, rows: Sequence[AgentResult]) -> str:
    """What was done and what came out, in words."""
    frames = " and ".join(dict.fromkeys(f"{row.frames:,}" for row in rows))
    found = []
    for row in rows:
        greedy = {m.where: m for m in row.measured if m.policy == "greedy"}
        found.append(
            f"{row.agent} solves {greedy['farama'].success:.1%} of new levels in Farama's environment "
            f"and {greedy['jax'].success:.1%} in ours"
        )
    return (
        f"Each agent learned {env} for {frames} environment steps in metarims' own world, and was then measured on "
        f"{rows[0].measured[0].episodes:,} new levels there and {rows[0].measured[-1].episodes:,} in Farama's "
        f"environment, where it reads pixels. Choosing its likeliest action, {'; '.join(found)}."
    )


def describe_wordless(success: dict[str, float]) -> str:
    """What the mission's sentence is worth: success when its words are taken away."""
    found = ", ".join(f"{agent} {value:.1%}" for agent, value in success.items())
    return f"Without the words of the mission, success in our world (sampled policy) falls to: {found}."


def show(saved: SavedAgent, num_episodes: int) -> list[ShownEpisode]:
    """Episodes of the agent's first seed in Farama's environment; the policy is sampled, as in training."""
    label = f"{saved.config.agent}, seed {saved.seed}, sampled"
    episodes = record_episodes(saved.agent, saved.config.env, num_episodes, greedy=False, where="farama")
    return [ShownEpisode(label, episode) for episode in episodes]
