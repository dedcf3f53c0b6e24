"""Settings and checkpoints written by earlier versions, under today's names."""

import re
from typing import Any

SETTINGS = {"rates": "lr_multipliers", "at_episode_end": "recurrent_state"}
"""Settings of version 0.1 that have another name today."""

NETWORK = {
    "feature_limit": "feature_rms_limit",
    "mission_scale": "mission_init_scale",
    "key_scale": "key_init_scale",
    "message_scale": "message_init_scale",
}
"""The same of ``network``."""

ARRAYS = (
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
    if isinstance(values.get("network"), dict):
        values["network"] = {NETWORK.get(name, name): value for name, value in values["network"].items()}
    return values
