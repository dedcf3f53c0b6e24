"""Wheel and sdist as users get them: installed into an empty environment, used from an empty folder.

    make wheels                             # Python 3.11, 3.12 and 3.13, lowest and newest dependencies, and the sdist
    python tests/wheels.py --python python3.12 --dependencies lowest

The lowest dependencies are the bounds in pyproject.toml themselves; what those depend on is as new as it can be.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
USE = (
    ("doctor",),
    ("train", "--preset", "debug", "--out", "run"),
    ("train", "--preset", "debug", "--out", "run"),  # Finished: it says so and ends.
    ("evaluate", "run", "--episodes", "4"),
    ("view", "run", "--episodes", "2", "--out", "page.html"),
    ("view", "goto-local", "--episodes", "1", "--out", "shipped.html"),
    ("params", "--env", "MiniGrid-DoorKey-5x5-v0"),
    ("study", "list"),
)
"""Commands that must work in this order."""


def lowest(python: str) -> str:
    """The direct dependencies' lower bounds as pip's constraints, for an interpreter."""
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    environment = {"python_version": version, "extra": ""}
    lines = []
    for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            (bound,) = [clause.version for clause in requirement.specifier if clause.operator == ">="]
            lines.append(f"{requirement.name}=={bound}")
    return "\n".join(lines) + "\n"


def build(folder: Path) -> tuple[Path, Path]:
    """The wheel, made from the sdist, and the sdist."""
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def try_out(artefact: Path, python: str, dependencies: str) -> None:
    """Install into a fresh environment and run every command of ``USE`` in an empty folder."""
    with tempfile.TemporaryDirectory() as place:
        here = Path(place)
        subprocess.run([python, "-m", "venv", str(here / "venv")], check=True)
        pip = [str(here / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        constraints = here / "constraints.txt"
        constraints.write_text(lowest(python) if dependencies == "lowest" else "")
        subprocess.run([*pip, "-c", str(constraints), str(artefact)], check=True)
        empty, keep = here / "empty", ("PATH", "LANG", "SSL_CERT_FILE")
        empty.mkdir()
        environment = {name: os.environ[name] for name in keep if name in os.environ} | {"HOME": str(here)}
        for words in USE:
            subprocess.run(
                [str(here / "venv/bin/metarims"), *words],
                cwd=empty,
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        assert {"run", "page.html", "shipped.html"} <= {path.name for path in empty.iterdir()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=["python3.11", "python3.12", "python3.13"])
    parser.add_argument("--dependencies", nargs="+", default=["lowest", "newest"], choices=["lowest", "newest"])
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        wheel, sdist = build(Path(folder))
        cells = [(wheel, python, which) for python in arguments.python for which in arguments.dependencies]
        for artefact, python, which in [*cells, (sdist, arguments.python[-1], "newest")]:
            name = f"{artefact.name}, {python}, {which} dependencies"
            if not shutil.which(python):
                print(f"MISSING {name}: there is no {python}", flush=True)
                failed += 1
                continue
            began = time.monotonic()
            try:
                try_out(artefact, python, which)
            except (subprocess.CalledProcessError, AssertionError) as error:
                print(f"FAILED  {name}: {error}", flush=True)
                failed += 1
            else:
                print(f"ok      {name}: {time.monotonic() - began:.0f} s", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
