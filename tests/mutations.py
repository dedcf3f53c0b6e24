"""Do the tests notice small faults? Each mutation of ``src`` is applied alone in a copy, and tests must fail there.

``python tests/mutations.py`` runs all of ``MUTATIONS``, ``python tests/mutations.py 3 7`` those numbers. Slow tests do
not run. Exit code 1: a mutation survived.
"""

import argparse
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LIMIT = 400
"""Seconds that the tests of one mutation may take; a mutation that makes them hang counts as caught."""


class Mutation(NamedTuple):
    """One fault."""

    file: str
    """Below ``src/metarims``, without ``.py``."""
    old: str
    """The text to be replaced, which stands once in the file."""
    new: str
    tests: str
    """Test files below ``tests``, in the order in which they run."""


MUTATIONS = (
    Mutation(
        "gridworld/physics",
        "jnp.where(carried == KEY + color, front - 2, front)",
        "jnp.where(carried == KEY + color, front - 1, front)",
        "gridworld/test_parity.py gridworld/test_quirks.py",
    ),
    Mutation(
        "gridworld/physics",
        "(code >= KEY) & (code < DOOR) & empty_handed",
        "(code >= KEY) & (code < DOOR)",
        "gridworld/test_parity.py gridworld/test_quirks.py",
    ),
    Mutation(
        "gridworld/task_rules",
        "earned = 1 - 0.9 * (count.astype(jnp.float32) / rules.max_steps)",
        "earned = 1 - 0.9 * ((count - 1).astype(jnp.float32) / rules.max_steps)",
        "gridworld/test_parity.py gridworld/test_quirks.py",
    ),
    Mutation(
        "gridworld/task_rules",
        "count >= rules.max_steps)",
        "count > rules.max_steps)",
        "gridworld/test_parity.py gridworld/test_quirks.py",
    ),
    Mutation(
        "gridworld/task_rules",
        "(across & rules.put_near) | (beside & rules.put_next)",
        "(beside & rules.put_near) | (across & rules.put_next)",
        "gridworld/test_parity.py gridworld/test_quirks.py",
    ),
    Mutation(
        "gridworld/task_rules",
        "failure |= _has(cell, LANDMARK) & rules.memory",
        "failure |= _has(cell, TARGET) & rules.memory",
        "gridworld/test_parity.py gridworld/test_quirks.py",
    ),
    Mutation(
        "gridworld/observation",
        "(codes < AGENT) & (state != 0)",
        "(codes < AGENT) & (state == 2)",
        "gridworld/test_observation.py gridworld/test_parity.py",
    ),
    Mutation(
        "gridworld/observation",
        "state.x + dx * ahead - dy * aside",
        "state.x + dx * ahead + dy * aside",
        "gridworld/test_observation.py gridworld/test_parity.py",
    ),
    Mutation(
        "gridworld/observation",
        "carried + (AGENT - 4)",
        "carried + (AGENT - 3)",
        "gridworld/test_observation.py gridworld/test_parity.py",
    ),
    Mutation(
        "gridworld/reset_buffer",
        "bits[source] = self._draw_bits(buffer.seed, source, number)",
        "bits[source] = self._draw_bits(buffer.seed, source, 0)",
        "gridworld/test_vector.py gridworld/test_mixture.py",
    ),
    Mutation(
        "gridworld/vector",
        "ended = result.terminated | result.truncated",
        "ended = result.terminated",
        "gridworld/test_vector.py gridworld/test_properties.py",
    ),
    Mutation(
        "gridworld/vector",
        "result.truncated, final)",
        "result.truncated, _observation(playing))",
        "gridworld/test_vector.py",
    ),
    Mutation(
        "gridworld/prng",
        "return both // other, both % other",
        "return both // other, both % bound",
        "gridworld/test_generation.py gridworld/test_vector.py",
    ),
    Mutation(
        "gridworld/obstacles",
        "bare & (around != agent) &",
        "bare &",
        "gridworld/test_obstacles.py",
    ),
    Mutation(
        "gridworld/physics",
        "known=jnp.where(action == DROP, meant, told.known)",
        "known=meant",
        "gridworld/test_instructions.py",
    ),
    Mutation(
        "gridworld/instructions",
        "looked = jnp.stack([before.step_count > 0] * 2 + [first_done] * 2)",
        "looked = jnp.ones(SLOTS, bool)",
        "gridworld/test_instructions.py",
    ),
    Mutation(
        "agents/reading",
        "(tokens[1:] != tokens[:-1]).any(-1)",
        "(tokens[1:] != tokens[:-1]).all(-1)",
        "learning/test_reading.py",
    ),
    Mutation(
        "gridworld/mixture",
        "else jnp.asarray(self.mission_rows[source])[state.mission]",
        "else state.mission",
        "gridworld/test_mixture.py",
    ),
    Mutation(
        "gridworld/levels/goals",
        "door_y = 1 + stream.randint(size - 3)",
        "door_y = 1 + stream.randint(size - 2)",
        "gridworld/test_generation.py",
    ),
    Mutation(
        "gridworld/host_env",
        "lengths[np.asarray(step.terminated | step.truncated)] = 0",
        "lengths[np.asarray(step.truncated)] = 0",
        "gridworld/test_host_env.py",
    ),
    Mutation(
        "gridworld/mission_table",
        ">= now - self.keep:",
        "> now:",
        "gridworld/test_host_env.py learning/test_host_training.py",
    ),
    Mutation(
        "agents/attention",
        "queries, keys) * keys.shape[-1] ** -0.5",
        "queries, keys)",
        "agents/test_attention.py",
    ),
    Mutation(
        "agents/attention",
        "(index[None] < index[:, None])",
        "(index[None] > index[:, None])",
        "agents/test_attention.py",
    ),
    Mutation(
        "agents/attention",
        "(attention * (gradient - sum(_columns(attention * gradient))),)",
        "(attention * gradient,)",
        "agents/test_attention.py",
    ),
    Mutation(
        "agents/rims",
        "jnp.where(is_active, new_hidden, jax.lax.stop_gradient(new_hidden))",
        "jnp.where(is_active, new_hidden, new_hidden)",
        "agents/test_rims.py",
    ),
    Mutation(
        "agents/rims",
        "jnp.where(is_active, new_cell, cell), 0, 1)",
        "new_cell, 0, 1)",
        "agents/test_rims.py",
    ),
    Mutation(
        "agents/router",
        "if self.num_candidates < self.num_modules:",
        "if False:",
        "agents/test_rims.py",
    ),
    Mutation(
        "agents/layers",
        "(1 - update) * candidate + update * hidden",
        "update * candidate + (1 - update) * hidden",
        "agents/test_encoder.py agents/test_rims.py",
    ),
    Mutation(
        "agents/core",
        "return core.step(inputs, core.reset(state, is_first))",
        "return core.step(inputs, state)",
        "agents/test_core.py agents/test_agent.py",
    ),
    Mutation(
        "agents/encoder",
        "jax.lax.rsqrt(1 + ((x / limit) ** 2).mean(-1, keepdims=True))",
        "jax.lax.rsqrt(1 + ((x / limit) ** 2).sum(-1, keepdims=True))",
        "agents/test_encoder.py",
    ),
    Mutation(
        "agents/encoder",
        "jnp.where(token[:, None] > 0, new, hidden)",
        "jnp.where(token[:, None] >= 0, new, hidden)",
        "agents/test_encoder.py",
    ),
    Mutation(
        "learning/returns",
        "jnp.where(terminated, 0.0, jnp.where(truncated, truncation_values, next_values))",
        "jnp.where(terminated | truncated, 0.0, next_values)",
        "learning/test_returns.py",
    ),
    Mutation(
        "learning/returns",
        "jnp.where(end, 0.0, advantage)",
        "advantage",
        "learning/test_returns.py",
    ),
    Mutation(
        "learning/ppo",
        "ppo.value_coef * value_loss - ppo.entropy_coef * entropy",
        "ppo.value_coef * value_loss + ppo.entropy_coef * entropy",
        "learning/test_ppo.py",
    ),
    Mutation(
        "learning/ppo",
        "error = jnp.maximum(error,",
        "error = jnp.minimum(error,",
        "learning/test_ppo.py",
    ),
    Mutation(
        "learning/timescales",
        "own = optax.apply_updates(own, self._scale_groups(updates, rate))",
        "own = optax.apply_updates(own, updates)",
        "learning/test_rules.py",
    ),
    Mutation(
        "learning/timescales",
        "jnp.swapaxes(pieces, 0, 1).reshape(span, -1, *leaf.shape[2:])",
        "pieces.reshape(span, -1, *leaf.shape[2:])",
        "learning/test_spans.py",
    ),
    Mutation(
        "learning/timescales",
        "lambda leaf: leaf[::every].reshape",
        "lambda leaf: leaf[every - 1 :: every].reshape",
        "learning/test_spans.py",
    ),
    Mutation(
        "learning/timescales",
        "far = ~(now.approx_kl <= self.ppo.target_kl)",
        "far = (now.approx_kl <= self.ppo.target_kl)",
        "learning/test_rules.py",
    ),
    Mutation(
        "learning/timescales",
        "gradient = self._zero_frozen(gradient)",
        "pass",
        "learning/test_rules.py",
    ),
    Mutation(
        "learning/rollout",
        "            is_first=done,",
        "            is_first=time_step.terminated,",
        "learning/test_rollout.py",
    ),
    Mutation(
        "learning/rollout",
        "agent.reset(actor.core, is_first))\n        action",
        "actor.core)\n        action",
        "learning/test_rollout.py",
    ),
    Mutation(
        "learning/trainer",
        "return jax.lax.rsqrt(1 + num_rollouts * (",
        "return jax.lax.rsqrt(2 + num_rollouts * (",
        "learning/test_trainer.py",
    ),
    Mutation(
        "learning/trainer",
        "[()] * (learners[index].loop.rollout // base - 1), (index,))",
        "[()] * (learners[index].loop.rollout // base), (index,))",
        "learning/test_spans.py",
    ),
    Mutation(
        "learning/guard",
        "bad = ~(jnp.abs(values) <= np.array(list(LIMITS.values()), np.float32)[terms])",
        "bad = jnp.abs(values) > np.array(list(LIMITS.values()), np.float32)[terms]",
        "learning/test_guard.py",
    ),
    Mutation(
        "learning/timescales",
        "group: multiplier * rule.lr_multipliers.get(group, 1.0)",
        "group: multiplier / rule.lr_multipliers.get(group, 1.0)",
        "learning/test_rules.py",
    ),
    Mutation(
        "runs/checkpoints",
        "if checksums[name] != checksum:",
        "if len(checksums[name]) != len(checksum):",
        "runs/test_checkpoints.py",
    ),
    Mutation(
        "runs/checkpoints",
        "number <= chunk][-KEEP:]",
        "number <= chunk][-1:]",
        "runs/test_checkpoints.py",
    ),
    Mutation(
        "runs/checkpoints",
        "    sync_folder(folder)\n    existing = chunks(folder)",
        "    existing = chunks(folder)",
        "runs/test_checkpoints.py runs/test_killed.py",
    ),
    Mutation(
        "runs/files",
        "            os.fsync(file.fileno())\n        os.replace(scratch, path)",
        "        os.replace(scratch, path)",
        "runs/test_files.py runs/test_killed.py runs/test_disk.py",
    ),
    Mutation(
        "runs/files",
        "        os.replace(scratch, path)\n",
        "        path.write_bytes(data)\n",
        "runs/test_files.py runs/test_killed.py",
    ),
    Mutation(
        "runs/folder",
        'MAY_CHANGE = ("frames",',
        'MAY_CHANGE = ("seeds", "frames",',
        "runs/test_training.py test_cli.py",
    ),
    Mutation(
        "runs/best_checkpoint",
        "if best is None or mean >= best:",
        "if best is None or mean <= best:",
        "runs/test_training.py",
    ),
    Mutation(
        "runs/metrics_log",
        'self.num_bytes >= position["bytes"]',
        "True",
        "runs/test_metrics_log.py runs/test_disk.py",
    ),
    Mutation(
        "runs/training",
        "regular = self.chunk % self.config.checkpoint_every == 0",
        "regular = (self.chunk + 1) % self.config.checkpoint_every == 0",
        "runs/test_training.py",
    ),
    Mutation(
        "runs/export",
        "found != _checksum(about, arrays)",
        "len(found) != 64",
        "runs/test_export.py",
    ),
    Mutation(
        "evaluation/evaluate",
        "return (seed << 32) + trained",
        "return seed + trained",
        "evaluation/test_evaluate.py evaluation/test_tables.py",
    ),
    Mutation(
        "evaluation/evaluate",
        "found = after.terminated & (after.reward > 0), returns",
        "found = after.terminated & (returns > 0), returns",
        "evaluation/test_evaluate.py",
    ),
    Mutation(
        "evaluation/evaluate",
        "EVALUATION_DOMAIN = (0x6576616C, 0x75617465)",
        "EVALUATION_DOMAIN = (0, 0)",
        "evaluation/test_evaluate.py",
    ),
    Mutation(
        "evaluation/evaluate",
        "fresh = (now.is_first & ~carry) | ablation.no_memory",
        "fresh = now.is_first | ablation.no_memory",
        "evaluation/test_evaluate.py",
    ),
    Mutation(
        "evaluation/evaluate",
        "policy_entropy(output.logits / ablation.temperature)",
        "policy_entropy(output.logits)",
        "evaluation/test_evaluate.py",
    ),
    Mutation(
        "evaluation/statistics",
        "len(values) - 1) * scipy.stats.sem(values)",
        "len(values)) * scipy.stats.sem(values)",
        "evaluation/test_statistics.py",
    ),
    Mutation(
        "evaluation/statistics",
        "above + 0.5 * level",
        "above + level",
        "evaluation/test_statistics.py",
    ),
    Mutation(
        "evaluation/statistics",
        "num_runs, num_tasks))",
        "num_runs, 1))",
        "evaluation/test_statistics.py",
    ),
    Mutation(
        "evaluation/modules",
        "sets[(index + shift) % number]",
        "sets[index]",
        "evaluation/test_modules.py",
    ),
    Mutation(
        "evaluation/curves",
        "curve.values >= threshold",
        "curve.values > threshold",
        "evaluation/test_statistics.py",
    ),
    Mutation(
        "views/packing",
        "[int(t) + 1, int(cell), int(flat[t + 1, cell])]",
        "[int(t), int(cell), int(flat[t + 1, cell])]",
        "views/test_packing.py",
    ),
    Mutation(
        "studies/verdicts",
        "supported=interval.low > 0.5, refuted",
        "supported=interval.value > 0.5, refuted",
        "studies/test_verdicts.py",
    ),
    Mutation(
        "studies/verdicts",
        "return 2 / 2**num_seeds <= LEVEL",
        "return 1 / 2**num_seeds <= LEVEL",
        "studies/test_verdicts.py",
    ),
    Mutation(
        "studies/measures",
        "if entropy(2**middle) < goal else",
        "if entropy(2**middle) > goal else",
        "studies/test_measures.py",
    ),
    Mutation(
        "studies/measures",
        "first, before - ends[agent.seed, last]))",
        "first, ends[agent.seed, last] - before))",
        "studies/test_measures.py",
    ),
    Mutation(
        "studies/scores",
        "common if conditions is None else list(conditions)",
        "free[name] if conditions is None else list(conditions)",
        "studies/test_plans.py",
    ),
)


def main() -> int:
    """Run the mutations that are asked for, and print what became of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", nargs="*", type=int, help="mutations to run (default: all)")
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout to mutate")
    parser.add_argument("--list", type=Path, help="Python file with other MUTATIONS, as (file, old, new, tests)")
    parser.add_argument("--json", type=Path, help="add the results to this file")
    asked = parser.parse_args()
    mutations = MUTATIONS
    if asked.list:
        mutations = tuple(Mutation(*entry) for entry in runpy.run_path(str(asked.list))["MUTATIONS"])
    survived = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = _copy(asked.root, Path(folder))
        for number in asked.numbers or range(len(mutations)):
            mutation = mutations[number]
            began = time.monotonic()
            outcome = _run(copy, mutation)
            seconds = round(time.monotonic() - began)
            survived += not outcome.startswith("caught")
            title = f"{mutation.file}: {mutation.old.strip()} -> {mutation.new.strip()}"
            print(f"{number:2} {title}: {outcome} ({seconds} s)", flush=True)
            if asked.json:
                found = json.loads(asked.json.read_text()) if asked.json.exists() else {}
                found[title] = [outcome, seconds]
                asked.json.write_text(json.dumps(found, indent=1))
    print(f"{survived} not caught.")
    return min(survived, 1)


def _copy(root: Path, folder: Path) -> Path:
    """What tests need: a copy of the sources, and links to all else."""
    for path in root.iterdir():
        if path.name in ("src", "tests"):
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.name not in (".git", ".hypothesis", ".pytest_cache"):
            (folder / path.name).symlink_to(path)
    return folder


def _run(copy: Path, mutation: Mutation) -> str:
    """``caught by TEST``, ``caught: hangs``, ``survived``, or why it was not applied."""
    path = copy / "src/metarims" / f"{mutation.file}.py"
    text = path.read_text()
    if text.count(mutation.old) != 1:
        return f"not applied: the text stands {text.count(mutation.old)} times in the file, correct the list"
    path.write_text(text.replace(mutation.old, mutation.new))
    tests = [f"tests/{name}" for name in mutation.tests.split()]
    command = [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider", "-m", "not slow and not parity", *tests]
    environment = os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return "caught: hangs"
    finally:
        path.write_text(text)
    if done.returncode == 0:
        return "survived"
    failed = [line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if done.returncode not in (1, 2) or not failed:
        raise SystemExit(f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
    return f"caught by {failed[0].split(' ', 1)[1].removeprefix('tests/')}"


if __name__ == "__main__":
    raise SystemExit(main())
