"""Run ``examples/tour.sh`` in an empty folder and write what it prints to ``tour.txt``: ``python docs/write_tour.py``.

It needs pandas and Flax. ``tour.md`` shows it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT, PAGE = ROOT / "examples" / "tour.sh", ROOT / "docs" / "tour.txt"


def run(folder: Path) -> subprocess.CompletedProcess:
    """The script in this folder, with this Python and this checkout; its output has the commands, too."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    source = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PATH": paths, "PYTHONPATH": source, "COLUMNS": "100"}
    command = ["bash", "-v", str(SCRIPT)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, cwd=folder, env=environment, text=True, check=False, **pipes)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        done = run(Path(folder))
    if done.returncode:
        sys.exit(done.stdout)
    PAGE.write_text(done.stdout)
