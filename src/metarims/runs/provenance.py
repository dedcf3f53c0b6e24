"""Version and commit of the running code."""

import functools
import subprocess
from pathlib import Path

import metarims


@functools.cache
def commit() -> str:
    """The commit of this process's code, with ``-dirty`` where files have changed; empty outside a checkout.

    It is read once: call this early, before the checkout may change.
    """
    return commit_of(Path(metarims.__file__).resolve().parent)


def commit_of(package: Path) -> str:
    """The commit of a package in the ``src`` of its checkout; empty for an installed package."""
    root = package.parents[1]
    if package.parent.name != "src" or not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
