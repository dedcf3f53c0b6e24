"""Write the table of verdicts in ``replication.md`` from the committed scores: ``python docs/draw_verdicts.py``."""

import re
from pathlib import Path

from metarims.studies.catalogue import STUDIES
from metarims.studies.results import Judged, read_results

HERE = Path(__file__).parent
SCORES = HERE.parent / "benchmarks/scores"
PAGE = HERE / "replication.md"
BEGIN, END = "<!-- Verdicts: python docs/draw_verdicts.py -->\n", "<!-- End of verdicts -->\n"
SCALES = ("laptop", "paper")
SECTIONS = {
    "fig3": "figures-3-and-4-sample-efficiency",
    "table1": "table-1-and-figure-10-zero-shot-transfer-to-larger-rooms",
    "fig5a": "figure-5a-a-curriculum",
    "fig5b": "figure-5b-an-lstm-at-two-speeds",
    "fig6a": "figure-6a-number-of-active-modules-ratio-of-the-spans",
    "fig6b": "figure-6b-which-modules-are-active",
    "fig7": "figure-7-the-value-over-nine-episodes",
    "fig8": "figure-8-which-parameters-are-slow",
    "fig9": "figure-9-deactivating-active-modules",
    "fig11": "figures-11-and-12-modules-in-the-memory-hallway",
    "adaptation": "adaptation",
    "forgetting": "forgetting",
    "transfer": "what-transfers",
    "hallway": "transfer-that-needs-memory",
    "ladder": "ladder-from-the-lstm-to-modules",
    "mechanisms": "mechanisms-what-each-is-worth",
}
"""The section of each study that has results."""


def verdict(judged: Judged) -> str:
    """The outcome in bold where there is one, and every comparison's figure with its interval."""
    if judged.verdict is None:
        return ""
    outcome = judged.verdict.outcome
    figures = []
    for comparison in judged.verdict.comparisons:
        value, low, high = (f"{x:z.2f}".replace("0.", ".", 1) for x in comparison.interval)
        baseline = f" over `{comparison.baseline}`" if len(judged.verdict.comparisons) > 1 else ""
        figures.append(f"{value} [{low}, {high}]{baseline}")
    return (outcome if outcome == "undecided" else f"**{outcome}**") + " " + "; ".join(figures)


def table() -> str:
    """Markdown: a row per claim of each study that has scores, those of the paper's figures and tables first."""
    studies = sorted(SECTIONS, key=lambda name: not re.match("Figure|Table", STUDIES[name].source))
    lines = ["| claim | our settings | BabyAI's PPO | study |", "|---|---|---|---|"]
    for name in studies:
        columns = []
        for scale in SCALES:
            path = SCORES / f"{name}-{scale}.json.gz"
            columns.append(read_results(path).verdicts if path.exists() else [])
        for index, hypothesis in enumerate(STUDIES[name].hypotheses):
            cells = [verdict(column[index]) if column else "" for column in columns]
            claim = hypothesis.claim.statement
            if name == "mechanisms" and " on " in claim:  # Single tasks are in a table of their own.
                continue
            if name == "ladder":  # Its labels are phrases, such as "and values".
                claim = re.sub("(.+) learns faster than (.+)", r'"\1" learns faster than "\2"', claim)
            lines.append(" | ".join([f"| {claim}", *cells, f"[{name}](#{SECTIONS[name]}) |"]))
    return "\n".join(lines) + "\n"


def main() -> None:
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + table() + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
