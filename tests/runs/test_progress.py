"""What is seen of a run: nothing cut off, and the time that is really left."""

import io
import json
import re

import pytest
from rich.console import Console

from metarims.config import Config
from metarims.runs.callbacks import ChunkReport
from metarims.runs.progress import JobTable, Progress, RunTarget

CONFIG = Config(frames=40_000)
LOSSES = [f"{loop}/{term}" for loop in ("fast", "slow") for term in ("policy_loss", "value_loss", "entropy")]
FIXED = ["seed", "success", "return", "length", "episodes"]
ROWS = [
    {"seed": seed, "success": 0.976, "return": -0.912, "episode_length": 131.4, "episodes": 12_345}
    | dict.fromkeys(LOSSES, -0.012)
    for seed in (0, 1, 12)
]


def report(rows, env_steps=39_680):
    return ChunkReport(env_steps // 19_840, env_steps, 59_520, 1000.0, 0.0, rows, 19.84)


def format_value(rows, width):
    """A run of one chunk on a terminal: the lines that are left on it."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False)
    with Progress(console) as progress:
        progress.begin(CONFIG, 0, ())
        progress.chunk(report(rows))
    text = console.file.getvalue().split("\x1b[2K")[-1]  # After the last line that was drawn over.
    return re.sub(r"\x1b\[[?\d]*[a-zA-Z]", "", text).splitlines()


def split(line, edge):
    return [cell.strip() for cell in line.strip(edge).split(edge)]


@pytest.mark.parametrize(("width", "num_losses"), [(50, 0), (80, 2), (110, 4), (111, 5), (121, 6)])
def test_losses_that_find_no_room_are_left_out_and_nothing_is_cut_off(width, num_losses):
    lines = format_value(ROWS, width)
    headings, rows = ([split(line, edge) for line in lines if line.startswith(edge)] for edge in "┃│")
    names = ["/".join(filter(None, parts)) for parts in zip(*headings, strict=True)]
    assert names == FIXED + LOSSES[:num_losses]
    values = ["0.976", "-0.912", "131.4", "12345", *["-0.012"] * num_losses]
    assert rows == [[seed, *values] for seed in ("0", "1", "12")]
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)


def test_a_mixture_of_tasks_on_a_narrow_terminal():
    tasks = {f"success/BabyAI-{name}-v0": 0.5 for name in ("GoToRedBall", "GoToLocal", "PutNextLocal")}
    text = "\n".join(format_value([{**ROWS[0], **tasks}], 80))
    assert "BabyAI-GoToRedBall-v0" in text
    assert "GoToLocal" not in text


def test_time_is_counted_to_the_end_of_the_last_chunk():
    (title, *_) = [line for line in format_value(ROWS[:1], 80) if "steps (" in line]
    assert "39,680 of 59,520 steps (67 %)" in title
    assert "20 s left" in title


def test_where_nobody_looks_compiling_is_two_plain_lines():
    console = Console(file=io.StringIO(), width=80)
    with Progress(console) as progress:
        progress.compiling()
        assert console.file.getvalue() == "Compiling ...\n"
        progress.begin(CONFIG, 0, ())
        progress.compiled(31.2)
        progress.chunk(report(ROWS)._replace(compile_seconds=31.2))
    lines = console.file.getvalue().splitlines()
    assert [line for line in lines if "ompil" in line] == ["Compiling ...", "Compiled in 31.2 s."]


def test_on_a_terminal_a_clock_goes_on_while_compiling(monkeypatch):
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    seconds = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: seconds[0])
    with Progress(console) as progress:
        progress.compiling()
        seconds[0] += 95
        progress._live.refresh()
        assert "Compiling ... 1 min 35 s" in console.file.getvalue()
        progress.begin(CONFIG, 0, ())
        progress.compiled(95.0)
        assert "Compiled in 95.0 s." in console.file.getvalue()
        assert "First chunk ... 0 s" in console.file.getvalue()
    assert "..." not in console.file.getvalue().split("\x1b[2K")[-1], "a run that is stopped waits for nothing"


def test_jobs_show_the_progress_of_their_last_run(tmp_path):
    runs = [RunTarget(tmp_path / env, env, 1024) for env in ("first", "second")]
    table = JobTable(Console(file=io.StringIO(), width=200), "plan", {"a": runs, "b": runs}, {"a": "label"})
    table.start("a")

    def cells():
        return [next(iter(column.cells)) for column in table.table().columns][:7]

    assert cells() == ["label", "running", "first", "compiling", "", "", ""]
    table.refresh()
    assert table.console.file.getvalue() == "", "nothing is trained yet"
    for run, success in zip(runs, (0.5, None), strict=True):
        run.path.mkdir()
        rows = [{"seed": seed, "env_steps": 512, "success": success} for seed in (0, 1)]
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"cut')
        (run.path / "speed.jsonl").write_text('{"env_steps": 512, "frames_per_second": 64.0}\n')
        mean = "0.50" if success else "-"
        assert cells() == ["label", "running", run.env, "512 / 1,024", "64", mean, "16 s"]
    for _ in range(2):
        table._drawn = -1e9
        table.refresh()
    table.end("a", "died", "why")
    assert cells()[:2] == ["label", "waiting"]
    first, last = table.console.file.getvalue().splitlines()
    assert first == "a  step 512 of 1,024  64 frames/s  success -  16 s left"
    assert last == "died      a  why"
