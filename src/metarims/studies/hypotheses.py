"""Constructors of the hypotheses that several studies share."""

from collections.abc import Mapping, Sequence

from metarims.studies import experiments
from metarims.studies.measures import INFORMATION, ON_TARGET, ON_TARGET_EVENLY
from metarims.studies.plans import Asked, Hypothesis
from metarims.studies.verdicts import Claim


def compare(
    statement: str, name: str, agent: str, *baselines: str, conditions: Sequence[str] | None = None, **claim
) -> Hypothesis:
    """One label against others, by scores of one name."""
    tables = {label: (label, name, None if conditions is None else tuple(conditions)) for label in (agent, *baselines)}
    return Hypothesis(Claim(statement, name, agent, baselines, **claim), tables)


def level(
    statement: str, name: str, agent: str, goal: float, conditions: Sequence[str] | None = None, **claim
) -> Hypothesis:
    """The mean of one label over seeds and tasks against a fixed level."""
    return compare(statement, name, agent, conditions=conditions, test="level", goal=goal, **claim)


def pair(statement: str, name: str, tables: Mapping[str, Asked], **claim) -> Hypothesis:
    """The same agents under two conditions, each seed compared with itself: the first of ``tables``
    (``Hypothesis.tables``) against the second."""
    better, worse = tables
    return Hypothesis(Claim(statement, name, better, (worse,), paired=True, **claim), tables)


def compare_conditions(agent: str, better: str, worse: str) -> Hypothesis:
    """One agent's success under two conditions."""
    statement = f"{agent} has a higher success rate {better} than {worse}"
    return pair(statement, "success", {condition: (agent, "success", (condition,)) for condition in (better, worse)})


def needs_memory(agent: str, env: str) -> Hypothesis:
    """One agent's success with and without its recurrent state."""
    without = agent, "success without memory", (env,)
    tables = {agent: (agent, "success", (env,)), f"{agent} without memory": without}
    return pair(f"{agent} needs its memory", "success", tables)


def needs(what: str, score: str, agent: str, *envs: str) -> Hypothesis:
    """One agent's success as trained and with an ablation of its modules, whose score has this name: on these tasks,
    or on all that were measured."""
    ablated, where = f"{agent}, {score.removeprefix('success ')}", f" on {', '.join(envs)}" if envs else ""
    tables = {agent: (agent, "success", envs or None), ablated: (agent, score, envs or None)}
    return pair(f"{agent} needs {what}{where}", "success", tables)


def looks(agent: str) -> Hypothesis:
    """The attention to objects of an agent whose input is a set, against equal attention to all of them."""
    statement = f"of the objects in view, the modules of {agent} attend most to the one that the mission names"
    tables = {agent: (agent, ON_TARGET, None), "even attention": (agent, ON_TARGET_EVENLY, None)}
    return pair(statement, ON_TARGET, tables)


def learnt(statement: str, information: str) -> Hypothesis:
    """The information of the active sets of ``metarims`` against that of the untrained agents at the same steps."""
    untrained = f"{information}, untrained agent"
    tables = {"trained": ("metarims", information, None), "untrained": ("metarims", untrained, None)}
    return pair(statement, information, tables)


INFORMATIVE_SETS = (
    compare(
        "the active set has more mutual information with the tile ahead than a random one",
        INFORMATION,
        "metarims",
        "random",
    ),
    learnt(
        "the active set has more mutual information than the set of the untrained agent at the same steps", INFORMATION
    ),
)
"""Whether the choice of active modules depends on what the agent observes, beyond chance and architecture."""


def marker_module(moment: str) -> tuple[Hypothesis, Hypothesis]:
    """One module is active at nearly all such moments, and more specifically so than with the random router."""
    return (
        level(
            f"one module is active {moment} of nearly all solved episodes",
            f"activity of one module {moment}",
            "metarims",
            0.95,
        ),
        compare(
            f"one module is active {moment} more than elsewhere, compared with random sets",
            f"excess activity of one module {moment}",
            "metarims",
            "random",
        ),
    )


def backward_transfer(agent: str) -> Hypothesis:
    """How much less often an agent that learnt a larger room succeeds on 5x5."""
    return level(
        f"{agent}, where it has learnt a larger room, loses at most a tenth of success on 5x5",
        "success lost",
        f"{agent} backward",
        0.1,
        experiments.DOORKEY[:1],
        direction="lower",
    )
