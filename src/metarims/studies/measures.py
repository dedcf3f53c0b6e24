"""What is measured of trained agents. A measure takes what training left and the scale, and gives rows per seed."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.stats

from metarims.config import Config
from metarims.evaluation.curves import area_under_curve, reach_threshold, whole_curves
from metarims.evaluation.evaluate import AS_LEARNT, Ablation, Evaluation, evaluate_jax, evaluation_key
from metarims.evaluation.modules import find_mark, information_beyond_chance, is_at_junction, is_last_step, replay
from metarims.evaluation.recording import record_episodes
from metarims.evaluation.tables import carries, check_actions
from metarims.gridworld import make
from metarims.gridworld.types import VIEW
from metarims.learning.diagnostics import measure_collapse
from metarims.learning.trainer import make_trainer
from metarims.runs.export import SavedAgent
from metarims.studies.plans import Found, Measure, Row, Scale, Trained, named

KEPT = 0.9
"""Share of the old success at which an agent counts as recovered."""
ALIVE = 0.01
"""Share of the steps at which a module must act to count as alive."""


def learning(trained: Trained, scale: Scale) -> Found:
    """How fast the last stage was learned: area under the curves of success (S) and return (R), and their ends."""
    rows, stage = [], trained.stages[-1]
    for measure in ("success", "return"):
        for seed, curve in whole_curves(trained.metrics[-1], measure).items():
            rows.append(Row(seed, f"area of {measure}", stage.env, area_under_curve(curve)))
            rows.append(Row(seed, f"last {measure}", stage.env, float(curve.values[-1])))
    return Found(rows)


def transfer(*envs: str) -> Measure:
    """Success and return on other tasks, without learning there: the sampled policy, in our world."""

    @named(f"transfer to {', '.join(envs)}")
    def measure(trained: Trained, scale: Scale) -> Found:
        return Found([row for env in envs for row in _evaluate(trained.agents[-1], env, scale, "")])

    return measure


WITHOUT_MEMORY = Ablation(remembers=False)


def no_memory(*envs: str) -> Measure:
    """The same with a fresh recurrent state at every step: "success without memory"."""

    @named(f"without memory on {', '.join(envs)}")
    def measure(trained: Trained, scale: Scale) -> Found:
        agents = trained.agents[-1]
        return Found([row for env in envs for row in _evaluate(agents, env, scale, " without memory", WITHOUT_MEMORY)])

    return measure


CONDITIONS = {
    "as trained": Ablation(),
    "without memory": WITHOUT_MEMORY,
    "at temperature 1.5": Ablation(1.5),
    "at temperature 2": Ablation(2.0),
    "at temperature 3": Ablation(3.0),
    "by chance": Ablation(np.inf),
}
"""How an agent plays where its transfer is taken apart (``evaluate_jax``)."""


EVEN = 1.5
"""Nats to which policies are brought so that agents can be compared that draw their actions as evenly; with seven
actions chance has 1.95."""
AS_EVEN = f"at {EVEN} nats"
GREEDY = "greedy"


def taken_apart(env: str) -> Measure:
    """Success on another task, without learning there, and the entropy of the policy: as trained, without memory,
    always with the likeliest action, with policies that are more and more even, and where all are as even."""

    @named(f"taken apart on {env}")
    def measure(trained: Trained, scale: Scale) -> Found:
        return Found([row for saved in trained.agents[-1] for row in _take_apart(saved, env, scale)])

    return measure


def _take_apart(saved: SavedAgent, env: str, scale: Scale) -> list[Row]:
    level, key = make(env), evaluation_key(saved.seed)

    def play(number: int, ablation: Ablation = AS_LEARNT, greedy: bool = False) -> Evaluation:
        return evaluate_jax(saved.agent, level, number, key, greedy, ablation=ablation, carry=carries(saved))

    def entropy(temperature: float) -> float:
        return float(play(min(64, scale.episodes), Ablation(temperature)).entropies.mean())

    played = {where: play(scale.episodes, ablation) for where, ablation in CONDITIONS.items()}
    played[GREEDY] = play(scale.episodes, greedy=True)
    played[AS_EVEN] = play(scale.episodes, Ablation(find_temperature(entropy, EVEN)))
    rows = []
    for where, found in played.items():
        rows.append(Row(saved.seed, "success", where, float(found.success.mean())))
        if where != GREEDY:  # What is played there has none, whatever the policy's.
            rows.append(Row(saved.seed, "entropy of the policy", where, float(found.entropies.mean())))
    return rows


def find_temperature(entropy: Callable[[float], float], goal: float) -> float:
    """A temperature between 1/16 and 16 at which the entropy comes near to a goal, found by halving the interval.

    In each state the entropy grows with the temperature. The mean over the states that the policy comes to need not do
    so everywhere, as these change with it: then one of several such temperatures is found.
    """
    low, high = -4.0, 4.0  # Powers of two.
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if entropy(2**middle) < goal else (low, middle)
    return 2 ** ((low + high) / 2)


def narrowing(hard: str, *easier: str) -> Measure:
    """Success and return on the task that was trained and on easier ones; and, of agents that had learnt it, what they
    lose on the easier ones against it."""

    @named(f"narrowing from {hard} to {', '.join(easier)}")
    def measure(trained: Trained, scale: Scale) -> Found:
        rows = list(transfer(hard, *easier)(trained, scale).rows)
        success = {(row.seed, row.where): row.value for row in rows if row.name == "success"}
        learnt = [agent.seed for agent in trained.agents[-1] if success[agent.seed, hard] >= scale.learnt]
        rows += [
            Row(seed, "success lost", env, success[seed, hard] - success[seed, env])
            for env in easier
            for seed in learnt
        ]
        return Found(rows)

    return measure


def kept(trained: Trained, scale: Scale) -> Found:
    """Success on the first task after each stage, and what later stages took of it where it had been learnt."""
    first, rows = trained.stages[0].env, []
    for index, agents in enumerate(trained.agents):
        rows += _evaluate(agents, first, scale, f" after stage {index + 1}")
    ends = {(row.seed, row.name): row.value for row in rows}
    last = f"success after stage {len(trained.agents)}"
    for agent in trained.agents[0]:
        before = ends[agent.seed, "success after stage 1"]
        if before >= scale.learnt:
            rows.append(Row(agent.seed, "success lost", first, before - ends[agent.seed, last]))
    return Found(rows)


def recovery(trained: Trained, scale: Scale) -> Found:
    """Frames of the last stage until training success is back near the first stage's end; inf where it never is.

    Only of seeds that had learnt the first stage's task.
    """
    rows, before = [], whole_curves(trained.metrics[0], "success")
    for seed, curve in whole_curves(trained.metrics[-1], "success").items():
        old = before[seed].values[-3:].mean() if seed in before else 0.0
        if old >= scale.learnt:
            reach = reach_threshold([curve], KEPT * old)
            rows.append(Row(seed, "frames to recover", trained.stages[-1].env, float(reach.scores[0, 0])))
    return Found(rows)


def switching_off(trained: Trained, scale: Scale) -> Found:
    """Environment steps that 20 episodes take when fewer of the modules that win may act: some drawn anew at each step,
    as the paper has it, or those that attend most."""
    rows, env = [], trained.stages[-1].env
    for saved in trained.agents[-1]:
        core = saved.agent.core
        cores = {"all that win": core}
        for number in range(core.num_active - 1, 0, -1):
            cores[f"{number} of them, drawn"] = core.with_active(number, drawn=True)
            cores[f"the best {number}"] = core.with_active(number)
        for where, fewer in cores.items():
            agent = eqx.tree_at(lambda a: a.core, saved.agent, fewer)
            key, carry = evaluation_key(saved.seed), carries(saved)
            played = evaluate_jax(agent, make(env), scale.episodes, key, greedy=False, carry=carry)
            rows.append(Row(saved.seed, "frames for 20 episodes", where, float(20 * played.lengths.mean())))
            rows.append(Row(saved.seed, "success", where, float(played.success.mean())))
    return Found(rows)


def activity(trained: Trained, scale: Scale) -> Found:
    """Who acts when: how often each module, what the set that acts says of the tile ahead, and whether single modules
    mark the end of an episode, or a junction.

    What the set says is also measured of the agent's first weights, which see the same steps: how much there is to say
    depends on where an agent goes.
    """
    rows, env, raster = [], trained.stages[-1].env, None
    for saved, untrained in zip(trained.agents[-1], _first_agents(trained.agents[-1][0].config), strict=True):
        carry = carries(saved)
        episodes = record_episodes(saved.agent, env, scale.episodes, False, "jax", saved.seed, carry=carry)
        unlearnt = replay(untrained, env, episodes)
        active = [episode.active for episode in episodes]
        ahead = [episode.view[:-1, VIEW // 2, VIEW - 2] for episode in episodes]
        shares = np.concatenate(active).mean(0)
        numbers = {
            "success": np.mean([episode.success for episode in episodes]),
            "share of the least active module": shares.min(),
            "every module acts": shares.min() >= ALIVE,
            "collapse": measure_collapse(jnp.asarray(shares)),
            "information of the set on the tile ahead": information_beyond_chance(active, ahead),
            "information of the set on the tile ahead, first weights": information_beyond_chance(unlearnt, ahead),
        }
        solved = [episode for episode in episodes if episode.success]
        moments = {"at the last step": is_last_step, "at the junction": is_at_junction}
        marking = []
        for moment, is_then in moments.items():
            mark = find_mark([(episode.active, is_then(episode)) for episode in solved])
            if mark:
                numbers[f"share of one module {moment}"] = mark.share
                numbers[f"lead of one module {moment}"] = mark.lead
                marking.append(mark.module)
        if len(marking) == len(moments):
            numbers["another module at the junction"] = len(set(marking)) > 1
        rows += [Row(saved.seed, name, env, float(value)) for name, value in numbers.items()]
        if raster is None:
            raster = {
                "active": [episode.active.astype(int).tolist() for episode in episodes[:6]],
                "env": env,
                "seed": saved.seed,
            }
    return Found(rows, {"raster": raster})


def values(trained: Trained, scale: Scale) -> Found:
    """The value over nine episodes, and how well it orders the steps of solved ones by how near the end is."""
    rows, env, record = [], trained.stages[-1].env, None
    for saved in trained.agents[-1]:
        number, carry = max(9, scale.episodes), carries(saved)
        episodes = record_episodes(saved.agent, env, number, False, "jax", saved.seed, carry=carry)
        orders = [_rank_correlation(e.values) for e in episodes if e.success and len(e.values) > 2]
        if orders:
            rows.append(Row(saved.seed, "rank correlation of value and time", env, float(np.mean(orders))))
        if record is None:
            record = {
                "values": [np.round(e.values, 4).tolist() for e in episodes[:9]],
                "env": env,
                "seed": saved.seed,
            }
    return Found(rows, {"values": record})


def _first_agents(config: Config) -> list[Any]:
    """The agents of a run, one per seed, as they were before it."""
    trainer = make_trainer(config)
    state = trainer.init()
    return [trainer.agent(state, index) for index in range(len(config.seeds))]


def _evaluate(
    agents: Sequence[SavedAgent], env: str, scale: Scale, suffix: str, ablation: Ablation = AS_LEARNT
) -> list[Row]:
    level, rows = make(env), []
    for saved in agents:
        check_actions(saved, env, level.num_actions)
        key, carry = evaluation_key(saved.seed), carries(saved)
        played = evaluate_jax(saved.agent, level, scale.episodes, key, greedy=False, ablation=ablation, carry=carry)
        rows.append(Row(saved.seed, f"success{suffix}", env, float(played.success.mean())))
        rows.append(Row(saved.seed, f"return{suffix}", env, float(played.returns.mean())))
    return rows


def _rank_correlation(heights: np.ndarray) -> float:
    """Spearman's, of a series and time; 0 for a constant one."""
    if np.ptp(heights) == 0:
        return 0.0
    return float(np.corrcoef(scipy.stats.rankdata(heights), np.arange(len(heights)))[0, 1])
