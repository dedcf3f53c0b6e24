"""Measures: functions from what training left and the scale to scores per seed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.stats

from metarims.config import Config
from metarims.evaluation.ablations import NO_ABLATION, Ablation
from metarims.evaluation.curves import area_under_curve, frames_to, whole_curves
from metarims.evaluation.episodes import EpisodeRecord
from metarims.evaluation.evaluate import Evaluation, evaluate_jax, evaluation_key
from metarims.evaluation.modules import (
    attention_to_target,
    find_marker_module,
    information_above_chance,
    is_at_junction,
    is_last_step,
    replay,
)
from metarims.evaluation.recording import record_agents, record_episodes
from metarims.evaluation.tables import carries, check_actions, evaluate_agents, make_rows, summarize
from metarims.gridworld import make
from metarims.gridworld.types import VIEW
from metarims.learning.diagnostics import measure_load_imbalance
from metarims.learning.trainer import make_trainer
from metarims.runs.export import SavedAgent
from metarims.studies.plans import Found, Measure, Scale, Score, Trained, named
from metarims.views.packing import pack_episode

INFORMATION = "mutual information of active set and tile ahead"
RECOVERED = 0.9
"""Share of the old success rate at which an agent counts as recovered."""
ALIVE = 0.01
"""Share of the steps at which a module must be active to count as alive."""
FARAMA_EPISODES = 4
"""Times as many episodes in Farama's environments as in ours, so that their own sampling error is the smaller one."""
NUM_SHOWN = 4
"""Episodes per agent in the viewer."""


def learning(trained: Trained, scale: Scale) -> Found:
    """Sample efficiency in the last stage: areas under the curves of success (S) and return (R), and their ends."""
    rows, stage = [], trained.stages[-1]
    for measure in ("success", "return"):
        for seed, curve in whole_curves(trained.metrics[-1], measure).items():
            rows.append(Score(seed, f"area of {measure}", stage.env, area_under_curve(curve)))
            rows.append(Score(seed, f"last {measure}", stage.env, float(curve.values[-1])))
    return Found(rows)


def transfer(*envs: str) -> Measure:
    """Zero-shot success and return on other tasks: the sampled policy, in our environments."""

    @named(f"transfer to {', '.join(envs)}")
    def measure(trained: Trained, scale: Scale) -> Found:
        return Found([row for env in envs for row in _evaluate(trained.agents[-1], env, scale, "")])

    return measure


WITHOUT_MEMORY = Ablation(no_memory=True)


def no_memory(*envs: str) -> Measure:
    """The same without memory: "success without memory"."""

    @named(f"without memory on {', '.join(envs)}")
    def measure(trained: Trained, scale: Scale) -> Found:
        agents = trained.agents[-1]
        return Found([row for env in envs for row in _evaluate(agents, env, scale, " without memory", WITHOUT_MEMORY)])

    return measure


ENTROPY_OF_COMMUNICATION = "entropy of communication"
ON_TARGET, ON_TARGET_EVENLY = "attention on the target", "even attention on the target"
OF_MODULES = {
    "without messages": Ablation(messages="off"),
    "with messages averaged": Ablation(messages="average"),
    "with input attention averaged": Ablation(input_attention="average"),
    "with fixed modules": Ablation(router="fixed"),
    "with random modules": Ablation(router="random"),
    "with all modules": Ablation(router="all"),
}
"""Ablations of modules on the task of training."""
LAST_CHUNKS = 3
"""Over which the communication's entropy is averaged."""


def modules_ablated(trained: Trained, scale: Scale) -> Found:
    """Success, return and episode length on the last stage's task as trained and with each ablation of the modules, on
    the same levels; and the entropy of the communication at the end of training, as a fraction of log N."""
    env, agents, metric = trained.stages[-1].env, trained.agents[-1], "modules/normalized_communication_entropy"
    rows = _evaluate(agents, env, scale, "")
    for name, ablation in OF_MODULES.items():
        rows += _evaluate(agents, env, scale, f" {name}", ablation)
    for saved in agents:
        own = [row.get(metric) for row in trained.metrics[-1] if row["seed"] == saved.seed]
        known = [value for value in own if value is not None]
        rows.append(Score(saved.seed, ENTROPY_OF_COMMUNICATION, env, float(np.mean(known[-LAST_CHUNKS:]))))
    return Found(rows)


def looking(trained: Trained, scale: Scale) -> Found:
    """Of agents whose input is a set: how much of the active modules' attention to objects is on those that the mission
    names, and how much it would be if all objects in view had equal attention; the mean over steps."""
    env, rows = trained.stages[-1].env, []
    for saved in trained.agents[-1]:
        episodes = _record(saved, env, scale.episodes)
        both = [np.concatenate(of_episodes) for of_episodes in zip(*map(attention_to_target, episodes), strict=True)]
        if len(both[0]):
            rows += [
                Score(saved.seed, name, env, float(values.mean()))
                for name, values in zip((ON_TARGET, ON_TARGET_EVENLY), both, strict=True)
            ]
    return Found(rows)


THRESHOLDS = (0.5, 0.9, 0.99)


def milestones(trained: Trained, scale: Scale) -> Found:
    """Environment steps of the last stage until training success reaches each threshold; inf if never."""
    return Found(
        [
            Score(seed, f"frames to {goal}", trained.stages[-1].env, frames_to(curve, goal))
            for goal in THRESHOLDS
            for seed, curve in whole_curves(trained.metrics[-1], "success").items()
        ]
    )


def composition(name: str, seen: str, held_out: str) -> Measure:
    """Success on the missions of training and on those held out of it; for agents that learnt the former, the success
    that they lose on the latter."""

    @named(f"composition {name}")
    def measure(trained: Trained, scale: Scale) -> Found:
        rows = transfer(seen, held_out)(trained, scale).rows
        return Found([*rows, *_success_lost(rows, scale, seen, {name: held_out})])

    return measure


TASK_INFORMATION = "mutual information of active set and task"


def task_information(*envs: str) -> Measure:
    """What the active set says of the task that is played, and the same of the untrained agent at the same steps."""

    @named(f"task information, {', '.join(envs)}")
    def measure(trained: Trained, scale: Scale) -> Found:
        rows, name, number = [], " and ".join(envs), max(4, scale.episodes // len(envs))
        for saved, untrained in zip(trained.agents[-1], _untrained(trained.agents[-1][0].config), strict=True):
            active, before, task = [], [], []
            for index, env in enumerate(envs):
                episodes = _record(saved, env, number)
                active += [episode.active for episode in episodes]
                before += replay(untrained, env, episodes)
                task += [np.full(len(episode.actions), index) for episode in episodes]
            rows.append(Score(saved.seed, TASK_INFORMATION, name, information_above_chance(active, task)))
            rows.append(
                Score(saved.seed, f"{TASK_INFORMATION}, untrained agent", name, information_above_chance(before, task))
            )
        return Found(rows)

    return measure


def continual(trained: Trained, scale: Scale) -> Found:
    """Success on every task after each stage, and means over tasks (Lopez-Paz & Ranzato, 2017): backward transfer, what
    later stages add to the success after a task's last one; forward transfer, what earlier stages add to the success of
    the untrained agent; and savings, the area under the curve of a second training less that of the first."""
    envs = [stage.env for stage in trained.stages]
    tasks, rows = list(dict.fromkeys(envs)), []
    for index, agents in enumerate(trained.agents):
        for task in tasks:
            rows += _evaluate(agents, task, scale, f" after stage {index + 1}")
    success = {(row.seed, row.name, row.condition): row.value for row in rows}
    areas = [
        {seed: area_under_curve(curve) for seed, curve in whole_curves(rows, "success").items()}
        for rows in trained.metrics
    ]
    for saved, untrained in zip(trained.agents[-1], _untrained(trained.agents[0][0].config), strict=True):
        seed, found = saved.seed, {"backward transfer": [], "forward transfer": [], "savings": []}
        for task in tasks:
            visits = [index for index, env in enumerate(envs) if env == task]
            if visits[-1] < len(envs) - 1:
                end, last = (success[seed, f"success after stage {n}", task] for n in (len(envs), visits[-1] + 1))
                found["backward transfer"].append(end - last)
            if visits[0]:
                fresh = evaluate_jax(untrained, make(task), scale.episodes, evaluation_key(seed), greedy=False)
                before = success[seed, f"success after stage {visits[0]}", task]
                found["forward transfer"].append(before - float(fresh.success.mean()))
            if len(visits) > 1 and all(seed in areas[visit] for visit in visits[:2]):
                found["savings"].append(areas[visits[1]][seed] - areas[visits[0]][seed])
        rows += [Score(seed, name, "all tasks", float(np.mean(values))) for name, values in found.items() if values]
    return Found(rows)


CONDITIONS = {
    "as trained": NO_ABLATION,
    "without memory": WITHOUT_MEMORY,
    "at temperature 1.5": Ablation(1.5),
    "at temperature 2": Ablation(2.0),
    "at temperature 3": Ablation(3.0),
    "with a uniform policy": Ablation(np.inf),
}
"""Ablations of zero-shot transfer."""
ENTROPY = 1.5
"""Nats to which all policies are brought, so that agents can be compared at equal entropy; a uniform policy over seven
actions has 1.95."""
EQUAL_ENTROPY = f"at {ENTROPY} nats"
GREEDY = "greedy"


def ablations(env: str) -> Measure:
    """Zero-shot success on another task, and the policy's entropy: as trained, without memory, greedy, at several
    temperatures, and at equal entropy."""

    @named(f"ablations on {env}")
    def measure(trained: Trained, scale: Scale) -> Found:
        return Found([row for saved in trained.agents[-1] for row in _evaluate_ablations(saved, env, scale)])

    return measure


def _evaluate_ablations(saved: SavedAgent, env: str, scale: Scale) -> list[Score]:
    def entropy(temperature: float) -> float:
        return float(_play(saved, env, min(64, scale.episodes), Ablation(temperature)).entropies.mean())

    played = {condition: _play(saved, env, scale.episodes, ablation) for condition, ablation in CONDITIONS.items()}
    played[GREEDY] = _play(saved, env, scale.episodes, greedy=True)
    played[EQUAL_ENTROPY] = _play(saved, env, scale.episodes, Ablation(find_temperature(entropy, ENTROPY)))
    rows = []
    for condition, found in played.items():
        rows.append(Score(saved.seed, "success", condition, float(found.success.mean())))
        if condition != GREEDY:  # The greedy policy has no entropy.
            rows.append(Score(saved.seed, "entropy of the policy", condition, float(found.entropies.mean())))
    return rows


def find_temperature(entropy: Callable[[float], float], goal: float) -> float:
    """A temperature between 1/16 and 16 at which the entropy is near a goal, by bisection.

    In each state the entropy grows with the temperature. Its mean need not, as the visited states change: of several
    such temperatures one is found.
    """
    low, high = -4.0, 4.0  # Powers of two.
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if entropy(2**middle) < goal else (low, middle)
    return 2 ** ((low + high) / 2)


def backward_transfer(hard: str, *easier: str) -> Measure:
    """Success and return on the trained task and on easier ones; for agents that learnt it, the success they lose
    there."""

    @named(f"backward transfer from {hard} to {', '.join(easier)}")
    def measure(trained: Trained, scale: Scale) -> Found:
        rows = transfer(hard, *easier)(trained, scale).rows
        return Found([*rows, *_success_lost(rows, scale, hard, {env: env for env in easier})])

    return measure


def retention(trained: Trained, scale: Scale) -> Found:
    """Success on the first task after each stage, and the loss by later stages for agents that had learnt it."""
    first, rows = trained.stages[0].env, []
    for index, agents in enumerate(trained.agents):
        rows += _evaluate(agents, first, scale, f" after stage {index + 1}")
    ends = {(row.seed, row.name): row.value for row in rows}
    last = f"success after stage {len(trained.agents)}"
    for agent in trained.agents[0]:
        before = ends[agent.seed, "success after stage 1"]
        if before >= scale.learnt:
            rows.append(Score(agent.seed, "success lost", first, before - ends[agent.seed, last]))
    return Found(rows)


def recovery(trained: Trained, scale: Scale) -> Found:
    """Frames of the last stage until training success is near that at the first stage's end; inf if never.

    Only for seeds that had learnt the first stage's task.
    """
    rows, before = [], whole_curves(trained.metrics[0], "success")
    for seed, curve in whole_curves(trained.metrics[-1], "success").items():
        old = before[seed].values[-3:].mean() if seed in before else 0.0
        if old >= scale.learnt:
            rows.append(Score(seed, "frames to recover", trained.stages[-1].env, frames_to(curve, RECOVERED * old)))
    return Found(rows)


def deactivation(trained: Trained, scale: Scale) -> Found:
    """Environment steps of 20 episodes with fewer active modules: a random subset, drawn at each step as in the paper,
    or those with the highest attention."""
    rows, env = [], trained.stages[-1].env
    for saved in trained.agents[-1]:
        core = saved.agent.core
        cores = {"all active modules": core}
        for number in range(core.num_active - 1, 0, -1):
            cores[f"{number} of them, random"] = core.with_active(number, drawn=True)
            cores[f"{number} of them, highest attention"] = core.with_active(number)
        for condition, fewer in cores.items():
            agent = eqx.tree_at(lambda a: a.core, saved.agent, fewer)
            played = _play(saved._replace(agent=agent), env, scale.episodes)
            rows.append(Score(saved.seed, "frames for 20 episodes", condition, float(20 * played.lengths.mean())))
            rows.append(Score(saved.seed, "success", condition, float(played.success.mean())))
    return Found(rows)


def activity(trained: Trained, scale: Scale) -> Found:
    """Module activations: how often each module is active, the mutual information of the active set and the tile ahead,
    and whether single modules mark the end of an episode or a junction.

    The information is also measured for the untrained agent at the same steps, as its size depends on where the agent
    goes.
    """
    rows, env, raster = [], trained.stages[-1].env, None
    for saved, untrained in zip(trained.agents[-1], _untrained(trained.agents[-1][0].config), strict=True):
        episodes = _record(saved, env, scale.episodes)
        active = [episode.active for episode in episodes]
        ahead = [episode.view[:-1, VIEW // 2, VIEW - 2] for episode in episodes]
        shares = np.concatenate(active).mean(0)
        numbers = {
            "success": np.mean([episode.success for episode in episodes]),
            "share of the least active module": shares.min(),
            "every module is active": shares.min() >= ALIVE,
            "load imbalance": measure_load_imbalance(jnp.asarray(shares)),
            INFORMATION: information_above_chance(active, ahead),
            f"{INFORMATION}, untrained agent": information_above_chance(replay(untrained, env, episodes), ahead),
        }
        solved = [episode for episode in episodes if episode.success]
        moments = {"at the last step": is_last_step, "at the junction": is_at_junction}
        marking = []
        for moment, is_then in moments.items():
            found = find_marker_module([(episode.active, is_then(episode)) for episode in solved])
            if found:
                numbers[f"activity of one module {moment}"] = found.share
                numbers[f"excess activity of one module {moment}"] = found.lead
                marking.append(found.module)
        if len(marking) == len(moments):
            numbers["a different module at the junction"] = len(set(marking)) > 1
        rows += [Score(saved.seed, name, env, float(value)) for name, value in numbers.items()]
        raster = raster or {
            "active": [episode.active.astype(int).tolist() for episode in episodes[:6]],
            "env": env,
            "seed": saved.seed,
        }
    return Found(rows, {"raster": raster})


def values(trained: Trained, scale: Scale) -> Found:
    """The value over nine episodes, and its rank correlation with time within solved ones."""
    rows, env, record = [], trained.stages[-1].env, None
    for saved in trained.agents[-1]:
        episodes = _record(saved, env, max(9, scale.episodes))
        orders = [_rank_correlation(e.values) for e in episodes if e.success and len(e.values) > 2]
        if orders:
            rows.append(Score(saved.seed, "rank correlation of value and time", env, float(np.mean(orders))))
        record = record or {
            "values": [np.round(e.values, 4).tolist() for e in episodes[:9]],
            "env": env,
            "seed": saved.seed,
        }
    return Found(rows, {"values": record})


def both_backends(trained: Trained, scale: Scale) -> Found:
    """Both policies in our environments and in Farama's, the sampled one also without mission; and some episodes.

    The records hold ``evaluations`` (rows as of ``metarims evaluate --json``) and ``episodes`` for the viewer.
    """
    agents, no_mission = trained.agents[-1], Ablation(no_mission=True)
    results = [
        evaluate_agents(agents, None, "jax", scale.episodes),
        evaluate_agents(agents, None, "jax", scale.episodes, ["sampled"], ablation=no_mission),
        evaluate_agents(agents, None, "farama", FARAMA_EPISODES * scale.episodes),
    ]
    rows = [
        Score(result.seed, "success", f"{result.backend}, {', '.join(result.how)}", result.success.value)
        for part in results
        for result in part
    ]
    label = f"{agents[0].config.agent}, seed {agents[0].seed}, sampled"
    episodes = record_agents(agents[:1], None, "farama", NUM_SHOWN, greedy=False)
    evaluations = [summarize(row) for part in results for row in make_rows(part)]
    return Found(rows, {"evaluations": evaluations, "episodes": [pack_episode(episode, label) for episode in episodes]})


def _untrained(config: Config) -> list[Any]:
    """The agents of a run, one per seed, before training."""
    trainer = make_trainer(config)
    state = trainer.init()
    return [trainer.agent(state, index) for index in range(len(config.seeds))]


def _evaluate(
    agents: Sequence[SavedAgent], env: str, scale: Scale, suffix: str, ablation: Ablation = NO_ABLATION
) -> list[Score]:
    rows = []
    for saved in agents:
        check_actions(saved, env, make(env).num_actions)
        played = _play(saved, env, scale.episodes, ablation)
        rows.append(Score(saved.seed, f"success{suffix}", env, float(played.success.mean())))
        rows.append(Score(saved.seed, f"return{suffix}", env, float(played.returns.mean())))
        rows.append(Score(saved.seed, f"episode length{suffix}", env, float(played.lengths.mean())))
    return rows


def _play(
    saved: SavedAgent, env: str, number: int, ablation: Ablation = NO_ABLATION, greedy: bool = False
) -> Evaluation:
    key = evaluation_key(saved.seed)
    return evaluate_jax(saved.agent, make(env), number, key, greedy, ablation=ablation, carry=carries(saved))


def _record(saved: SavedAgent, env: str, number: int) -> list[EpisodeRecord]:
    return record_episodes(saved.agent, env, number, greedy=False, seed=saved.seed, carry=carries(saved))


def _success_lost(rows: Sequence[Score], scale: Scale, learnt: str, others: Mapping[str, str]) -> list[Score]:
    """The success on the task ``learnt`` that agents lose on ``others`` (by condition), if they learnt it."""
    success = {(row.seed, row.condition): row.value for row in rows if row.name == "success"}
    seeds = [seed for (seed, env), value in success.items() if env == learnt and value >= scale.learnt]
    return [
        Score(seed, "success lost", condition, success[seed, learnt] - success[seed, env])
        for condition, env in others.items()
        for seed in seeds
    ]


def _rank_correlation(series: np.ndarray) -> float:
    """Spearman's, of a series and time; 0 for a constant one."""
    if np.ptp(series) == 0:
        return 0.0
    return float(np.corrcoef(scipy.stats.rankdata(series), np.arange(len(series)))[0, 1])
