"""The machine that a benchmark runs on, for its scores."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metarims.runs import provenance


def describe_machine() -> dict[str, Any]:
    """Processor, cores, system, and the commit that was measured."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "commit": provenance.commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "load_before": os.getloadavg()[0],
    }
