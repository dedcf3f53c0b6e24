"""Good input, from which the spoiled one is made."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tests.runs import fake

from metarims.agents.agent import make_agent
from metarims.gridworld import VOCABULARY
from metarims.presets import PRESETS
from metarims.runs.export import SavedAgent, save_agent
from metarims.runs.files import write_atomic
from metarims.runs.folder import describe
from metarims.studies.catalogue import STUDIES
from metarims.studies.plans import plans_of
from metarims.studies.scales import scale
from metarims.studies.study_folder import claim_study_folder, result_path

STUDIED = "fig6b"
"""A study with numbers, figures of every seed and rasters."""


def tiny_agent() -> SavedAgent:
    """An agent of four numbers."""
    return SavedAgent(fake.Tiny(jax.random.key(0)), fake.SMALL, 3, 1200, 7, len(VOCABULARY))


def real_agent(name: str = "metarims") -> SavedAgent:
    """An agent of the smallest preset."""
    config = dataclasses.replace(PRESETS["debug"], agent=name)
    agent = make_agent(config.network, config.core, num_actions=7, num_words=len(VOCABULARY), key=jax.random.key(0))
    return SavedAgent(agent, config, 0, 4096, 7, len(VOCABULARY))


def state(seed: int) -> dict[str, Any]:
    """A training state in small: weights, an optimiser's state, random keys, codes."""
    weights = {"a": jnp.arange(12.0).reshape(3, 4) + seed, "b": jnp.array([seed, -0.0])}
    keys = jax.vmap(jax.random.key)(jnp.array([seed, seed + 1]))
    return {"weights": weights, "adam": optax.adam(0.1).init(weights), "keys": keys, "count": jnp.int32(seed)}


def words(tree: Any) -> list[Any]:
    """Every array of a state as bytes."""
    leaves = (jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(tree))
    return [(str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes()) for leaf in leaves]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def metrics_rows() -> list[dict[str, Any]]:
    """Lines of ``metrics.jsonl``."""
    return [
        {
            "seed": seed,
            "chunk": chunk,
            "env_steps": 1000 * chunk,
            "success": None if chunk == 1 else 0.1 * chunk,
            "return": 0.05 * chunk,
            "success/a task": 0.5,
            "episodes": chunk,
            "fast/value_loss": 0.25,
        }
        for chunk in range(1, 5)
        for seed in (0, 1, 2)
    ]


def speed_rows() -> list[dict[str, Any]]:
    """Lines of ``speed.jsonl``."""
    return [
        {
            "chunk": n,
            "env_steps": 100 * n,
            "seconds": 2.5,
            "compile_seconds": 1.5 / n,
            "frames_per_second": 90.0,
            "commit": "0123abc",
            "version": "0.1.0",
        }
        for n in range(1, 5)
    ]


def study_folder(folder: Path) -> list[Path]:
    """A finished study; returns the results' paths within its folder."""
    chosen, size = STUDIES[STUDIED], scale("smoke")
    folder.mkdir()
    claim_study_folder(folder, chosen, size)
    paths = []
    for name, plan in plans_of(chosen, size).items():
        path = result_path(folder, name)
        path.parent.mkdir(parents=True)
        write_atomic(path, json.dumps(_result(plan, chosen.hypotheses)).encode())
        paths.append(path.relative_to(folder))
    return paths


def _result(plan: Any, questions: Any) -> dict[str, Any]:
    env = plan.stages[-1].env
    asked = {
        (hypothesis.claim.yes_or_no, *where[1:])
        for hypothesis in questions
        for where in hypothesis.tables.values()
        if where[0] == plan.label
    }
    rows = [
        (seed, name, where, float(seed) if yes_or_no else 0.2 + 0.1 * seed)
        for yes_or_no, name, wheres in sorted(asked, key=str)
        for where in (wheres or (env,))
        for seed in (0, 1)
    ]
    return {
        "label": plan.label,
        "plan": plan.name,
        "stages": [stage.env for stage in plan.stages],
        "rows": [*rows, (0, "frames to recover", env, float("inf"))],
        "records": {
            "raster": {"active": [[[0, 1, 1], [1, 1, 0]], [[1, 0, 1]]], "env": env, "seed": 0},
            "values": {"values": [[0.1, 0.2], [0.3]], "env": env, "seed": 0},
        },
        "curves": [
            [{"seed": s, "env_steps": n, "success": 0.5, "return": 0.25} for n in (512, 1024) for s in (0, 1)]
            for _ in plan.stages
        ],
        "stopped": [],
        "configs": [dataclasses.asdict(PRESETS["debug"])] * len(plan.stages),
        "measured": {"measures": ["learning"], "episodes": 4, "learnt": 0.0},
        "seconds": 12.5,
        "commit": "0123abc",
        "trained_by": ["0123abc", "4567def-dirty"],
        "versions": {"metarims": "0.0.1"},
        "date": "2026-01-01T00:00:00+00:00",
    }


def command_line_folder(folder: Path) -> None:
    """What arguments may name: a run, an agent, a study, a file that is none of them."""
    save_agent_at = folder / "run/agents/seed-0.safetensors"
    save_agent_at.parent.mkdir(parents=True)
    save_agent(save_agent_at, real_agent())
    (folder / "run/config.json").write_bytes(describe(PRESETS["debug"]))
    study_folder(folder / "study")
    (folder / "empty").mkdir()
    (folder / "note.txt").write_text("a note")
