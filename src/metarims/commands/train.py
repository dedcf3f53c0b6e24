"""``metarims train``."""

import shlex
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from metarims.commands.common import begin_computing, file_name, program
from metarims.config import Config
from metarims.errors import UserError
from metarims.presets import PRESETS
from metarims.runtime import share_processor

SEED_FAILED = 3
"""Exit code of a training that ended, but not for every seed: a numerical fault stopped some."""


@dataclass(frozen=True)
class Train:
    """Train agents; the same command goes on with a run that was interrupted."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="(default: runs/AGENT-ENV)")] = None
    """Folder of the run."""
    preset: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(PRESETS) + "}")] = "default"
    """Where the other flags start from: debug ends in seconds, demo learns in minutes, paper is BabyAI's PPO with the
    paper's N, k, gamma, lambda and fresh data for the slow loop."""
    config_from: Annotated[Path | None, tyro.conf.arg(metavar="RUN", help_behavior_hint="")] = None
    """Where the other flags start from instead: the settings of this run."""
    devices: int = 1
    """Devices that share the work: seeds are divided among them, then shards of environments (--ppo.shards). On a
    processor a device is a thread."""
    hosts: int = 1
    """Processes that train this run together, on one machine or many; each is started with this command and its own
    --host. --devices counts those of all."""
    host: int = 0
    """Which of the processes this is; 0 writes the run's folder."""
    coordinator: Annotated[str, tyro.conf.arg(metavar="ADDRESS:PORT")] = ""
    """Where host 0 listens for the others."""
    log: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[{tensorboard,wandb} ...]")] = ()
    """Draw every metric there too, a curve per seed: TensorBoard in the run's folder, Weights & Biases with a run per
    seed. Each is an extra of this package."""

    def run(self, command: str) -> int:
        from metarims.runs.signals import StopRequest

        out = self.out or Path("runs") / f"{self.config.agent}-{file_name(self.config.env)}"
        with StopRequest() as stop:  # From before the slow imports, so that an early Ctrl-C is as harmless.
            from metarims.learning.trainer import make_trainer
            from metarims.runs.callbacks import Callbacks
            from metarims.runs.hosts import Hosts, leads
            from metarims.runs.loggers import Loggers
            from metarims.runs.progress import Progress
            from metarims.runs.training import train

            self._note_unused_settings()
            share_processor(Hosts(self.hosts, self.host, self.coordinator).connect(self.devices))
            begin_computing()
            make = partial(make_trainer, num_devices=self.devices)
            if leads():
                with Loggers(self.log, out) as loggers, Progress() as progress:
                    outcome = train(self.config, out, Callbacks(loggers, progress), make, stop)
            else:
                outcome = train(self.config, out, make_trainer=make, stop=stop)
                return SEED_FAILED if outcome.stopped else 0
        if not outcome.finished:
            how = "Stopped and saved" if outcome.env_steps else "Stopped"
            print(f"{how} at step {outcome.env_steps:,} of {self.config.frames:,}. To go on: {command}")
            return 0
        named = f" --env {shlex.quote(self.config.env)}" if ":" in self.config.env else ""  # Files import no modules.
        condition = ", if it is a MiniGridEnv" if named else ""
        following = f"Next{condition}: {program()} evaluate {shlex.quote(str(out))}{named}"
        how = "Every seed was stopped" if len(outcome.stopped) == len(self.config.seeds) else "Finished"
        print(f"{how}: {outcome.env_steps:,} steps in {out}. {following}")
        if outcome.stopped:
            stopped = f"seed{'s' * (len(outcome.stopped) > 1)} {' '.join(map(str, outcome.stopped))}"
            print(f"metarims: a numerical fault stopped {stopped}: see {out / 'events.jsonl'}.", file=sys.stderr)
            return SEED_FAILED
        return 0

    def _note_unused_settings(self) -> None:
        """Say which of the settings that were asked for change nothing."""
        from metarims.learning.rules import unused_settings
        from metarims.runs.folder import differences

        idle = unused_settings(self.config)
        asked = differences(starting_point(self.preset, self.config_from), self.config, may_change=())
        names = [name for name in asked if name in idle or name.partition(".")[0] in idle]
        if names:
            print(f"Note: without effect for {self.config.agent}: {', '.join(names)}.", file=sys.stderr)


def starting_point(preset: str, config_from: Path | None) -> Config:
    """The settings from which the flags of ``metarims train`` start."""
    from metarims.presets import preset as find_preset
    from metarims.runs.folder import read_config

    if config_from is None:
        return find_preset(preset)
    if preset != "default":
        raise UserError(f"Both --preset {preset} and --config-from {config_from} are given: leave one out.")
    return read_config(config_from)
