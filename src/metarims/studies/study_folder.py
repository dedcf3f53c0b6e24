"""The layout of a study's folder:

DIR/study.json              which study, at which scale
DIR/study.lock              held while results are collected
DIR/runs/PLAN/1-TASK/       a run of ``metarims train`` for every stage
DIR/runs/PLAN/result.json   the measurements; written last, so it exists if the plan is finished
DIR/runs/PLAN/episodes.html some episodes of the first seed on the last task
DIR/runs/PLAN/error.txt     why it failed, until it succeeds
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metarims.config import Config
from metarims.errors import UserError
from metarims.fields import from_dict
from metarims.runs.files import write_atomic, writing
from metarims.runs.folder import contrast, differences
from metarims.studies.plans import Plan, Scale, Study
from metarims.upgrade import upgrade_config

ABOUT = "study.json"
LOCK = "study.lock"


def holds_study(folder: Path) -> bool:
    """Whether the folder holds a study."""
    return (folder / ABOUT).exists()


def claim_study_folder(folder: Path, study: Study, scale: Scale) -> None:
    """Make the study's folder, or check that it is this study's at this scale."""
    if holds_study(folder):
        check_study(folder, read_about(folder), study, scale)
        return
    with writing("the study", folder, advice="Name another folder with --out."):
        folder.mkdir(parents=True, exist_ok=True)
        about = {"study": study.name, "scale": scale.name}
        write_atomic(folder / ABOUT, json.dumps(about).encode())


def check_study(path: Path, found: Mapping[str, str], study: Study, scale: Scale) -> None:
    """Raise ``UserError`` unless ``found`` names this study at this scale."""
    if (found["study"], found["scale"]) != (study.name, scale.name):
        raise UserError(
            f"{path} holds the study {found['study']} at scale {found['scale']}, not {study.name} at scale "
            f"{scale.name}: name another folder with --out."
        )


def read_about(folder: Path) -> dict[str, str]:
    """The study and the scale of a folder."""
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return {name: str(about[name]) for name in ("study", "scale")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{folder} is not a study's folder: it has no readable {path.name}.") from error


def check_result(path: Path, plan: Plan, scale: Scale, result: Mapping[str, Any]) -> None:
    """Raise ``UserError`` unless a plan's result was made with today's settings and measures.

    ``path``: the study's folder or collected file. Results of versions that did not record measures are accepted.
    """
    how = _mismatch(plan, scale, result["configs"])
    if how:
        raise UserError(
            f"{path} holds a result of {plan.name} that was made with other settings ({how}): "
            "name another folder with --out."
        )
    found, today = result.get("measured"), plan.measured(scale)
    if found is None:
        return
    how = "; ".join(
        f"{name} = {_say(found[name])}, not {_say(value)}" for name, value in today.items() if found[name] != value
    )
    if how:
        again = f", or remove {result_path(path, plan.name)}: its agents are measured again without training"
        raise UserError(
            f"{path} holds a result of {plan.name} that was measured differently ({how}): name another folder with "
            f"--out{again if path.is_dir() else ''}."
        )


def _say(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _mismatch(plan: Plan, scale: Scale, configs: Sequence[Any]) -> str:
    """How the settings of a result differ from today's; empty if they do not."""
    if len(configs) != len(plan.stages):
        return f"{len(configs)} stages, not {len(plan.stages)}"
    for index, values in enumerate(configs):
        try:
            found = from_dict(Config, upgrade_config(values), "its settings")
        except UserError as error:
            return f"of another version: {str(error).rstrip('.?')}"
        wanted = plan.config(index, scale)
        names = differences(found, wanted, may_change=())
        if names:
            return f"stage {index + 1} has " * (len(configs) > 1) + contrast(found, wanted, names)
    return ""


def result_path(folder: Path, name: str) -> Path:
    """A plan's result."""
    return folder / "runs" / file_name(name) / "result.json"


def episodes_path(folder: Path, name: str) -> Path:
    """A plan's page of episodes."""
    return result_path(folder, name).with_name("episodes.html")


def error_path(folder: Path, name: str) -> Path:
    """Why a plan failed."""
    return result_path(folder, name).with_name("error.txt")


def stage_path(folder: Path, name: str, index: int, env: str) -> Path:
    """The run of one of a plan's stages."""
    return result_path(folder, name).with_name(f"{index + 1}-{file_name(env)}")


def file_name(text: str) -> str:
    """A name as part of a path."""
    return re.sub(r"[^\w.+=-]+", "-", text)
