"""Older files in today's names: settings, metrics, agents and checkpoints."""

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from metarims.core_settings import CORES
from metarims.errors import UserError
from metarims.rules import RULES

SETTINGS = {"rates": "lr_multipliers", "at_episode_end": "recurrent_state"}
"""Settings of version 0.1 that have another name today."""

NETWORK = {
    "feature_limit": "feature_rms_limit",
    "mission_scale": "mission_init_scale",
    "key_scale": "key_init_scale",
    "message_scale": "message_init_scale",
    "lstm_dim": "hidden_dim",
}
"""The same of ``network``, which held the settings of the cores too."""

OF_CORES = {f.name for settings in CORES.values() for f in dataclasses.fields(settings)}
"""Settings that were part of ``network``."""

ADDED_TO_CORES = {"rim": {"communication_norm": False}}
"""Settings that are newer than some files, by core: the value with which agents act as they did then."""

ARRAYS = (
    (r"\bactor\.core\.dice$", "actor.core.random_bits"),
    (r"\bphases$", "num_rollouts"),
    (r"\bactor\.begins$", "actor.is_first"),
    (r"\bactor\.env\.world\.", "actor.env.env."),
    (r"\bactor\.env\.then$", "actor.env.next_source"),
    (r"\bactor\.env\.pool\.words\.", "actor.env.buffer.bits."),
    (r"\bactor\.env\.pool\.fresh\.world\.", "actor.env.buffer.slots.env."),
    (r"\bactor\.env\.pool\.fresh\.then$", "actor.env.buffer.slots.next_source"),
    (r"\bactor\.env\.pool\.fresh\.", "actor.env.buffer.slots."),
    (r"\bactor\.env\.pool\.", "actor.env.buffer."),
)
"""Patterns of names of arrays in checkpoints of version 0.1, and today's names; the first that fits counts."""

CROPPED = "training.actor.env.buffer.bits."
"""Arrays of this name had unused columns at the end."""


ADDED_TO_SECTIONS = {"network": {"film_layers": 1}, "ppo": {"discount": "constant"}}
"""Settings of sections that came later, and what agents without them did."""


def upgrade_array_name(name: str) -> str:
    """Today's name of an array in a checkpoint."""
    for pattern, today in ARRAYS:
        upgraded, fits = re.subn(pattern, today, name)
        if fits:
            return upgraded
    return name


def upgrade_config(values: Any) -> Any:
    """A configuration as parsed JSON with today's names; what is no object, and names not known here, stay."""
    if not isinstance(values, dict):
        return values
    values = {SETTINGS.get(name, name): value for name, value in values.items()}
    agent = values.get("agent", "metarims")
    rule = RULES.get(agent) if isinstance(agent, str) else None
    if isinstance(values.get("network"), dict):
        network = {NETWORK.get(name, name): value for name, value in values["network"].items()}
        values["network"] = {name: value for name, value in network.items() if name not in OF_CORES}
        if rule is not None and rule.core in CORES and "core" not in values:
            fields = dataclasses.fields(CORES[rule.core])
            names = ["hidden_dim"] if rule.core == "lstm" else [f.name for f in fields]
            values["core"] = {name: network[name] for name in names if name in network}
    if rule is not None and isinstance(values.get("core"), dict):
        values["core"] = ADDED_TO_CORES.get(rule.core, {}) | values["core"]
    for section, added in ADDED_TO_SECTIONS.items():
        if isinstance(values.get(section), dict):
            values[section] = added | values[section]
    if isinstance(values.get("ppo"), dict) and "rate_horizon" in values["ppo"]:
        ppo = dict(values["ppo"])
        steps = ppo.pop("rate_horizon")
        values["ppo"] = ppo | ({"lr_decay_steps": steps} if steps else {"lr_schedule": "constant"})
    if "slow_factor" in values:
        factor = values.pop("slow_factor")
        multipliers = values.get("lr_multipliers", {})
        attention = multipliers.get("attention", 1.0) if isinstance(multipliers, dict) else None
        if agent == "slowlr" and isinstance(factor, int | float) and isinstance(attention, int | float):
            # The rule itself multiplies by 1/4 now.
            values["lr_multipliers"] = multipliers | {"attention": attention * factor / 0.25}
    return values


MEASURES = {"switching_off": "deactivation", "kept": "retention"}
"""Measures of studies that had another name in version 0.1."""

SCORE_WORDS = {
    "information of the set on the tile ahead": "mutual information of active set and tile ahead",
    "first weights": "untrained agent",
    "every module acts": "every module is active",
    "share of one module": "activity of one module",
    "lead of one module": "excess activity of one module",
    "another module at": "a different module at",
    "collapse": "load imbalance",
    "all that win": "all active modules",
    "of them, drawn": "of them, random",
    "by chance": "with a uniform policy",
    "narrowing from": "backward transfer from",
    "taken apart on": "ablations on",
}
"""The same of words in the names of scores, conditions and measures."""


EVALUATIONS = {"messages": None, "input_attention": None, "router": None}
"""Fields of evaluations that came later, and what those without them have."""


def upgrade_records(records: Any) -> Any:
    """What measures recorded beside scores, of any form, with the fields that came later."""
    if not isinstance(records, dict):
        return records
    evaluations, episodes = records.get("evaluations"), records.get("episodes")
    if isinstance(evaluations, list):
        records = records | {
            "evaluations": [EVALUATIONS | row if isinstance(row, dict) else row for row in evaluations]
        }
    if isinstance(episodes, list):
        records = records | {"episodes": list(map(_upgrade_episode, episodes))}
    return records


def _upgrade_episode(episode: Any) -> Any:
    """A packed episode; before, missions did not change, and neither advantages nor attention to a set were kept."""
    if not isinstance(episode, dict):
        return episode
    steps = len(values) if isinstance(values := episode.get("values"), list) else 0
    later = {"missions": [], "elements": 0, "attention": "", "advantages": [None] * steps}
    return later | episode


def upgrade_result(result: dict[str, Any]) -> dict[str, Any]:
    """A plan's result in a study, as parsed JSON, with today's names."""
    rows = [(seed, _reword(name), _reword(condition), value) for seed, name, condition, value in result["rows"]]
    result = result | {"rows": rows}
    if measured := result.get("measured"):
        measures = [MEASURES.get(name, _reword(name)) for name in measured["measures"]]
        result["measured"] = measured | {"measures": measures}
    return result


def _reword(text: str) -> str:
    for old, new in SCORE_WORDS.items():
        text = text.replace(old, new)
    return re.sub(r"^the best (\d+)$", r"\1 of them, highest attention", text)


METRICS = {"kl": "approx_kl", "information": "mutual_information", "collapse": "load_imbalance"}
"""The same of the last part of a metric's name."""


def upgrade_metrics(row: dict[str, Any]) -> dict[str, Any]:
    """A line of ``metrics.jsonl`` with today's names and units."""
    row = {_metric(name): value for name, value in row.items()}
    nats = row.pop("modules/communication_entropy", None)
    num_modules = sum(re.fullmatch(r"modules/active_\d+", name) is not None for name in row)
    if "modules/active_0" in row:  # Modules were counted from 0.
        row = {re.sub(r"^(modules/(?:active|input_attention)_)(\d+)$", _next, name): row[name] for name in row}
    if nats is not None and num_modules > 1:
        row["modules/normalized_communication_entropy"] = nats / math.log(num_modules)
    return row


def _next(numbered: re.Match[str]) -> str:
    return f"{numbered[1]}{int(numbered[2]) + 1}"


def _metric(name: str) -> str:
    group, slash, last = name.rpartition("/")
    return group + slash + (METRICS.get(last, last) if slash else last)


def read_orbax(path: Path, leaves: dict[str, str]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint's state, by today's names; of random keys their numbers.

    Version 0.1 stored one array of bytes with orbax: those of all arrays, in the order of their names. ``leaves``:
    types and shapes, from the checkpoint's manifest.
    """
    try:
        import orbax.checkpoint.experimental.v1 as ocp
    except ImportError:
        raise UserError(
            f"Checkpoint {path.parent} was written by metarims 0.1 with orbax: pip install orbax-checkpoint "
            "to resume the run. Its trained agents load without it.",
            field="checkpoint",
            value=str(path.parent),
        ) from None
    joined, arrays, begin = np.asarray(ocp.load(str(path.absolute()))["joined"]), {}, 0
    for name in sorted(leaves):
        kind, _, sizes = leaves[name].partition("[")
        shape = tuple(json.loads(f"[{sizes}"))
        kind, shape = ("uint32", (*shape, 2)) if kind == "key<fry>" else (kind, shape)
        end = begin + math.prod(shape) * np.dtype(kind).itemsize
        arrays[upgrade_array_name(name)] = joined[begin:end].view(kind).reshape(shape)
        begin = end
    return arrays
