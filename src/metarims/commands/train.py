"""``metarims train`` and ``metarims demo``."""

import shlex
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from metarims.commands.common import conflict, file_name, flag, prepare_jax, print_notes, program, status
from metarims.commands.study import StudyRunCommand
from metarims.config import Config, for_agent, unused_settings
from metarims.presets import PRESETS, preset
from metarims.runs.files import check_name
from metarims.runtime import share_processor

SEED_FAILED = 3
"""Exit code of a training that is complete except for seeds that a numerical fault stopped."""


@dataclass(frozen=True)
class TrainCommand:
    """Train agents. Rerun the command to resume an interrupted run."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Annotated[Path | None, flag("FOLDER", "runs/AGENT-ENV")] = None
    """Folder of the run."""
    preset: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(PRESETS) + "}")] = "default"
    """Defaults of the other flags: debug runs in seconds, demo learns in minutes, paper uses BabyAI's PPO settings."""
    config_from: Annotated[Path | None, flag("RUN")] = None
    """Take the defaults of the other flags from this run."""
    devices: int = 1
    """Devices: seeds are split among them, then shards of environments (--ppo.shards). CPU devices are threads."""
    hosts: int = 1
    """Processes of this run; start each with this command and its own --host. --devices counts the devices of all."""
    host: int = 0
    """Index of this process; process 0 writes the run's folder."""
    coordinator: Annotated[str, flag("ADDRESS:PORT")] = ""
    """Address where process 0 waits for the others."""
    log: Annotated[tuple[str, ...], flag("[{tensorboard,wandb} ...]")] = ()
    """Also log all metrics to TensorBoard (in the run's folder) or Weights & Biases; both are extras of the package."""

    def run(self, command: str) -> int:
        from metarims.runs.signals import StopRequest

        out = self.out or Path("runs") / f"{self.config.agent}-{file_name(self.config.env)}"
        check_name(out, "out")
        with StopRequest() as stop:  # Before the slow imports, so that an early Ctrl-C is handled too.
            with status(f"Starting {self.config.agent} on {self.config.env}"):
                from metarims.learning.trainer import make_trainer
                from metarims.runs.hosts import Hosts, leads
                from metarims.runs.loggers import Loggers
                from metarims.runs.training import train

            self._note_unused_settings()
            share_processor(Hosts(self.hosts, self.host, self.coordinator).connect(self.devices))
            prepare_jax()
            print_notes(self.config.env)
            make = partial(make_trainer, num_devices=self.devices)
            if not leads():
                return SEED_FAILED if train(self.config, out, make_trainer=make, stop=stop).stopped else 0
            with Loggers(self.log, out) as loggers:
                result = train(self.config, out, loggers, make, stop)
        if not result.finished:
            how = "Stopped and saved" if result.env_steps else "Stopped"
            print(f"{how} at step {result.env_steps:,} of {self.config.frames:,}. To resume: {command}")
            return 0
        how = "All seeds were stopped" if len(result.stopped) == len(self.config.seeds) else "Finished"
        print(f"{how}: {result.env_steps:,} steps in {out}. {self._next(out)}")
        if result.stopped:
            seeds = f"seed{'s' * (len(result.stopped) > 1)} {' '.join(map(str, result.stopped))}"
            print(f"metarims: a numerical fault stopped {seeds}: see {out / 'events.jsonl'}.", file=sys.stderr)
            return SEED_FAILED
        return 0

    def _next(self, out: Path) -> str:
        """The command to evaluate the agents. Agents' files import no modules: of a user's environment, --env does."""
        evaluate = f"{program()} evaluate {shlex.quote(str(out))}"
        if ":" in self.config.env:
            return f"Next: {evaluate} --env {shlex.quote(self.config.env)}"
        return f"Next: {evaluate}"

    def _note_unused_settings(self) -> None:
        """Print which of the given settings have no effect."""
        from metarims.runs.folder import differences

        unused = unused_settings(self.config)
        start = starting_point(self.preset, self.config_from, self.config.agent)
        given = differences(start, self.config, may_change=())
        names = [name for name in given if name in unused or name.partition(".")[0] in unused]
        if names:
            print(f"Note: without effect for {self.config.agent}: {', '.join(names)}.", file=sys.stderr)


def starting_point(name: str, config_from: Path | None, agent: str | None = None) -> Config:
    """The settings that the flags of ``metarims train`` change: a preset, or those of a run; for this agent."""
    from metarims.runs.folder import read_config

    if config_from and name != "default":
        raise conflict(f"--preset {name}", "--config-from", config_from)
    start = read_config(config_from) if config_from else preset(name)
    return for_agent(start, agent or start.agent)


@dataclass(frozen=True)
class DemoCommand:
    """Train three agents on a small BabyAI task, evaluate them in Farama's environment, and write an HTML report."""

    out: Annotated[Path, flag("FOLDER", "runs/demo")] = Path("runs/demo")
    """Folder of the runs and of report.html; finished runs in it are reused."""

    def run(self, command: str) -> int:
        print("Three agents learn one BabyAI task and are then evaluated.", flush=True)  # Imports take seconds.
        # A failed agent is an error here: the demo compares all three.
        return 2 * bool(StudyRunCommand("demo", "demo", self.out).run(command))
