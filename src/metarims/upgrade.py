"""Settings written by earlier versions, under today's names."""

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


def upgrade_config(values: Any) -> Any:
    """A configuration as parsed JSON with today's names; what is no object, and names not known here, stay."""
    if not isinstance(values, dict):
        return values
    values = {SETTINGS.get(name, name): value for name, value in values.items()}
    if isinstance(values.get("network"), dict):
        values["network"] = {NETWORK.get(name, name): value for name, value in values["network"].items()}
    return values
