"""Modular recurrent agents that learn at two speeds."""

import importlib
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "Config": "metarims.config",
    "Policy": "metarims.evaluation.policy",
    "metrics": "metarims.runs.metrics_log",
    "preset": "metarims.presets",
    "train": "metarims.runs.training",
}
"""Names that need more, and the modules that are imported for them when they are first asked for."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
