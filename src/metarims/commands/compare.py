"""``metarims report``: a page that compares runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metarims.commands.common import beside, flag, output, prepare_jax, status
from metarims.commands.play import AgentFlags, Backend, check_given, default_backend
from metarims.errors import invalid
from metarims.runs.files import check_file


@dataclass(frozen=True)
class ReportCommand(AgentFlags):
    """Compare runs on one HTML page: curves, success with intervals, and episodes on the same levels."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, flag("[AGENT ...]")] = ()
    """Folders of runs, .safetensors files, or pretrained agents: goto-local, doorkey, dynamic-obstacles. Several with
    equal settings but other seeds are one agent."""
    episodes: int = 200
    """Episodes per agent and policy for the table."""
    recorded: int = 3
    """Episodes of each agent to record for the viewer, on the same levels; of its first seed, with sampled actions."""
    backend: Annotated[Backend | None, flag("{farama,jax}")] = None
    """farama: the original Gymnasium environment. jax: the compiled one (default where there is one)."""
    seed: int = 0
    """Seed of the levels and of sampled actions."""
    out: Annotated[Path | None, flag("FILE")] = None
    """Write the page here (default: report.html in the run's folder, or beside several)."""

    def run(self, command: str) -> int:
        check_file(self.out, "--out", ".html")
        if self.recorded < 1:
            raise invalid("recorded", self.recorded, "at least one episode must be recorded")
        check_given(self.paths)
        prepare_jax()
        from metarims.evaluation.recording import record_agents
        from metarims.evaluation.tables import POLICIES, evaluate_agents, print_table
        from metarims.views.run_plot import read_runs
        from metarims.views.run_report import write_run_report

        experiments = self.load(self.paths)
        results, records = [], []
        with status("Playing") as on_progress:
            for label, agents in experiments.items():
                backend = self.backend or default_backend(self.env or agents[0].config.env)
                how = {"ablation": self.ablation}
                asked = agents, self.env, backend, self.episodes, POLICIES, self.seed
                found = evaluate_agents(*asked, on_progress=on_progress, **how)
                results += [result._replace(agent=label) for result in found]
                on_progress(f"recording {label}")
                episodes = record_agents(agents[:1], self.env, backend, self.recorded, False, self.seed, **how)
                records += [(f"{label}, seed {agents[0].seed}", episode) for episode in episodes]
        records.sort(key=lambda record: (record[1].env, record[1].level_seed))  # Agents on one level stand together.
        print_table(results)
        folders = [path for path in self.paths if path.is_dir()]
        runs = read_runs(folders) if folders else []
        out = self.out or beside(self.paths, "report.html")
        with output("the page", out, ": open it in a browser."):
            write_run_report(out, runs, experiments, results, records, command)
        return 0
