"""Write the tables of ablated modules in ``replication.md`` from the committed scores: ``python
docs/draw_mechanisms.py``.

Differences are paired: each seed's agent with the ablation and without it, on the same levels.
"""

from pathlib import Path

import numpy as np

from metarims.evaluation.statistics import mean, mean_interval
from metarims.studies.measures import OF_MODULES
from metarims.studies.results import Results, read_results

HERE = Path(__file__).parent
PAGE = HERE / "replication.md"
BEGIN, END = "<!-- Mechanisms: python docs/draw_mechanisms.py -->\n", "<!-- End of mechanisms -->\n"


def number(x: float, digits: int) -> str:
    return f"{x:z.{digits}f}".replace("0.", ".", 1) if digits > 1 else f"{x:z.{digits}f}"


def difference(without: np.ndarray, intact: np.ndarray, digits: int) -> str:
    """The mean over seeds with its 95 % interval, in bold where that leaves out zero."""
    value, low, high = (float(f"{x:z.{digits}f}") for x in mean_interval((without - intact)[:, None]))
    text = f"{'+' if value > 0 else ''}{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def table(results: Results, name: str, digits: int) -> str:
    """Markdown: a row per agent and task, the score as trained, and what each ablation changes."""
    lines = [f"| agent, task | {name} | " + " | ".join(OF_MODULES) + " |", "|---" * (2 + len(OF_MODULES)) + "|"]
    for plan in results.plans:
        label, env = plan["label"], plan["stages"][-1]
        intact = results.table(label, name, env)
        cells = [difference(results.table(label, f"{name} {what}", env), intact, digits) for what in OF_MODULES]
        task = env.partition("-")[2].removesuffix("-v0")
        lines.append(f"| `{label}`, {task} | {number(mean(intact), digits)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    results = read_results(HERE.parent / "benchmarks/scores/mechanisms-laptop.json.gz")
    before, rest = PAGE.read_text().split(BEGIN)
    tables = table(results, "success", 2) + "\n" + table(results, "episode length", 1)
    PAGE.write_text(before + BEGIN + "\n" + tables + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
