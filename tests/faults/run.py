"""Faults at random moments, and what they cost: ``python -m tests.faults.run`` (``make faults``).

Most trials train a fake learner of four numbers through the library's own runs, checkpoints and exports, so that they
take a second; some train the debug preset. A trial is lost if the resumed run is not, bit for bit, the one without
the fault, if a damaged file is taken for a whole one, or if a process ends with another error than ``UserError``.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
_CACHE = tempfile.TemporaryDirectory()
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _CACHE.name)

from metarims.runs import provenance  # noqa: E402
from metarims.runtime import prevent_deadlock  # noqa: E402

prevent_deadlock()

from tests.faults.learners import FAKE, REAL, call  # noqa: E402
from tests.faults.trials import TRIALS, try_one  # noqa: E402

ROOT = Path(__file__).parents[2]
SCORES = ROOT / "benchmarks/scores/faults.json"


def main() -> int:
    """Run the trials; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50, help="of each fault, with the fake learner")
    parser.add_argument("--real", type=int, default=5, help="of each fault, with the debug preset")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other moments")
    parser.add_argument("--fault", choices=list(TRIALS), help="this fault alone")
    parser.add_argument("--out", type=Path, default=SCORES, help="where the scores are written")
    asked = parser.parse_args()
    command = " ".join(["python -m tests.faults.run", *sys.argv[1:]])
    about = {"commit": provenance.commit(), "command": command, "seed": asked.seed}
    began, rows, lost = time.perf_counter(), [], []
    print(f"{'fault':24}{'learner':12}{'trials':>7}{'losses':>8}{'seconds':>9}  met")
    with tempfile.TemporaryDirectory() as folder:
        for learner, count in ((FAKE, asked.trials), (REAL, asked.real)):
            if not count:
                continue
            whole = call(learner.finish, Path(folder) / f"whole-{learner.name}")
            if whole.kind != "done":
                raise SystemExit(f"The run without faults ended {whole.kind}: {whole.content}")
            for name, trial in TRIALS.items():
                if asked.fault not in (None, name):
                    continue
                start, notes, losses = time.perf_counter(), Counter[str](), []
                for number in range(count):
                    seed = f"{asked.seed} {learner.name} {name} {number}"
                    loss = try_one(trial, learner, whole.content, Path(folder), seed, notes)
                    losses += [f"{seed}: {loss}"] if loss else []
                seconds = time.perf_counter() - start
                met = ", ".join(f"{number} {what}" for what, number in sorted(notes.items()) if number)
                print(f"{name:24}{learner.name:12}{count:>7}{len(losses):>8}{seconds:>9.0f}  {met}", flush=True)
                print("".join(f"    {line}\n" for line in losses[:5]), end="", flush=True)
                rows.append(
                    about
                    | {
                        "fault": name,
                        "learner": learner.name,
                        "trials": count,
                        "losses": losses,
                        "met": dict(notes),
                        "seconds": round(seconds, 1),
                    }
                )
                lost += losses
                _keep(asked.out, rows)
    total = sum(row["trials"] for row in rows)
    print(f"{total} trials (seed {asked.seed}), {len(lost)} losses, {time.perf_counter() - began:.0f} s")
    return 1 if lost else 0


def _keep(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows; those of other faults and learners, from earlier runs, stay."""
    done = {(row["fault"], row["learner"]) for row in rows}
    earlier = json.loads(path.read_text()) if path.exists() else []
    kept = [row for row in earlier if (row["fault"], row["learner"]) not in done]
    path.write_text(json.dumps([*kept, *rows], indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
