"""The demonstration, with agents that learn nothing in seconds."""

import dataclasses
import io

import pytest
from rich.console import Console

from metarims.demo import run_demo
from metarims.presets import DEMO, PRESETS, Demo

TINY = Demo(
    configs=tuple(
        dataclasses.replace(PRESETS["debug"], agent=agent, frames=1024, seeds=(0, 1))
        for agent in ("modular", "vanilla")
    ),
    episodes=8,
    farama_episodes=16,
    shown=1,
)


def test_the_demo_compares_three_agents_on_equal_terms():
    assert [config.agent for config in DEMO.configs] == ["metarims", "modular", "vanilla"]
    first = DEMO.configs[0]
    for config in DEMO.configs:
        assert dataclasses.replace(config, agent=first.agent) == first, "same task, frames, seeds and settings"


@pytest.mark.slow
def test_a_second_call_uses_the_finished_runs(tmp_path):
    texts = []
    for _ in range(2):
        console = Console(file=io.StringIO(), width=80)
        assert run_demo(tmp_path, TINY, console) == 0
        texts.append(console.file.getvalue())
    for text in texts:
        for word in (
            "modular",
            "vanilla",
            "greedy",
            "sampled",
            "our world",
            "Farama's",
            "1,024",
            "Without the words",
            "Report:",
        ):
            assert word in text
        assert all(len(line) <= 80 for line in text.splitlines() if line.startswith(" "))
    assert "steps 1,024" in texts[0]
    assert "steps 1,024" not in texts[1]
    page = (tmp_path / "report.html").read_text()
    assert "modular" in page
    assert "BabyAI-GoToRedBallNoDists-v0" in page
