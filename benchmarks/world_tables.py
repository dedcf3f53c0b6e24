"""The tables of the world's speed, in Markdown: ``python benchmarks/world_tables.py [scores/world.json]``."""

import json
import sys
from pathlib import Path
from typing import Any

from world import RESETS, SPEC_BYTES, TASKS

Cell = dict[str, Any]


def compact(rate: float) -> str:
    """1.23 M, 456 k, 7.9 k."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if rate >= unit:
            digits = 2 if rate < 10 * unit and name == " M" else 1 if rate < 100 * unit else 0
            return f"{rate / unit:.{digits}f}{name}"
    return f"{rate:.0f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def find(cells: list[Cell], **facts: Any) -> list[Cell]:
    """The cells with these facts and a figure."""
    return [c for c in cells if "rate" in c and all(c[name] == fact for name, fact in facts.items())]


def speeds(cells: list[Cell], kind: str) -> str:
    """One row for each task and contender; ratios of ours at 1,024 environments to each at its own best size."""
    plain = [c for c in cells if not c["max_steps"] and c["kind"] == kind]
    sizes = sorted({c["num_envs"] for c in plain if c["contender"] != "Farama"})
    rows = []
    for task in dict.fromkeys(c["task"] for c in plain):
        anchor = find(plain, task=task, contender="ours", num_envs=1024) or find(plain, task=task, contender="ours")
        for who in dict.fromkeys(c["contender"] for c in plain if c["task"] == task):
            mine = {c["num_envs"]: c["rate"] for c in find(plain, task=task, contender=who)}
            if who == "Farama":
                figures = ["", *[""] * (len(sizes) - 1)]
                figures[0] = f"{compact(mine[1])} (one)" if mine else "failed"
            else:
                figures = [compact(mine[size]) if size in mine else "" for size in sizes]
            ratio = f"{anchor[0]['rate'] / max(mine.values()):,.1f}" if mine and anchor and who != "ours" else ""
            rows.append([task, who, *figures, ratio])
    return table(["task", "contender", *(f"{size:,}" for size in sizes), "ours / theirs"], rows)


def memory(cells: list[Cell]) -> str:
    """Bytes per environment, pool of levels included."""
    mine = [c for c in cells if c["contender"] == "ours" and c["kind"] == "symbolic" and not c["max_steps"]]
    mine = [c for c in mine if c["task"] in SPEC_BYTES]
    sizes = sorted({c["num_envs"] for c in mine})
    rows = []
    for task in dict.fromkeys(c["task"] for c in mine):
        held = {c["num_envs"]: c["bytes_per_env"] for c in find(mine, task=task)}
        figures = [f"{held[s]:,.0f} ({held[s] / SPEC_BYTES[task]:.1f})" if s in held else "" for s in sizes]
        rows.append([task, str(SPEC_BYTES[task]), *figures])
    return table(["task", "packed", *(f"{size:,}" for size in sizes)], rows)


def resets(cells: list[Cell]) -> str:
    """Throughput against episode length."""
    found = [find(cells, contender="ours", max_steps=limit) for limit in RESETS]
    best = found[0][0]["rate"] if found[0] else None
    rows = [
        [str(limit), f"{cell['mean_episode']:.1f}", compact(cell["rate"]), f"{cell['rate'] / best:.0%}" if best else ""]
        for limit, group in zip(RESETS, found, strict=True)
        for cell in group
    ]
    return table(["time limit", "mean episode", "steps/CPU-s", "of the first"], rows)


def floors(results: dict[str, Any]) -> str:
    """The least time that a step's look-ups, operations and bytes would take, beside the time it takes."""
    ceiling, rows = results["floor"]["ceilings"], []
    for task, work in results["floor"]["work"].items():
        for kind in ("symbolic", "RGB"):
            mine = find(results["cells"], task=task, contender="ours", kind=kind, max_steps=0)
            if not mine:
                continue
            best = max(mine, key=lambda cell: cell["rate"])
            moved = work["bytes"] + (work["rgb_bytes"] if kind == "RGB" else 0)
            parts = [
                work["lookups"] / ceiling["lookups_per_s"],
                work["operations"] / ceiling["operations_per_s"],
                moved / ceiling["bytes_per_s"],
            ]
            taken = 1e9 / best["rate"]
            least = 1e9 * sum(parts)
            counts = [f"{work['lookups']}", f"{work['operations']:,}", f"{moved:,}"]
            rows.append([task, kind, *counts, f"{least:.0f}", f"{taken:.0f}", f"{least / taken:.0%}"])
    return table(["task", "kind", "look-ups", "operations", "bytes", "floor ns", "taken ns", "reached"], rows)


def main(path: Path) -> None:
    """Print everything."""
    results = json.loads(path.read_text())
    cells, machine = results["cells"], results["machine"]
    print(f"\n{machine['processor']}, {machine['cores']} cores, commit {machine['commit']}; `{results['command']}`")
    for kind in results["settings"]["kinds"]:
        print(f"\n**{kind}, steps per CPU-second**\n\n{speeds(cells, kind)}")
    print(f"**Bytes per environment (times the packed world)**\n\n{memory(cells)}")
    print(f"**The cost of resets: {TASKS[0]}, 1,024 environments**\n\n{resets(cells)}")
    if "ceilings" in results["floor"]:
        rates = {name: f"{rate:.3g}" for name, rate in results["floor"]["ceilings"].items()}
        print(f"**The floor** ({', '.join(f'{name} {rate}' for name, rate in rates.items())})\n\n{floors(results)}")
    for cell in cells:
        if "note" in cell:
            print(f"- {cell['contender']}, {cell['task']}, {cell['kind']}, {cell['num_envs']:,}: {cell['note']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "scores/world.json")
