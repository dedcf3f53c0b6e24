"""How studies put their claims: each is a question, with the rows that decide it."""

from collections.abc import Sequence

from metarims.studies import designs
from metarims.studies.plans import Question
from metarims.studies.verdicts import Claim


def compare(
    sentence: str, name: str, agent: str, *baselines: str, wheres: Sequence[str] | None = None, **claim
) -> Question:
    """A claim of one label against others, all measured by rows of one name."""
    tables = {label: (label, name, None if wheres is None else tuple(wheres)) for label in (agent, *baselines)}
    return Question(Claim(sentence, name, agent, baselines, **claim), tables)


def level(sentence: str, name: str, agent: str, goal: float, wheres: Sequence[str] | None = None, **claim) -> Question:
    """A claim of one label's mean over seeds and tasks."""
    return compare(sentence, name, agent, wheres=wheres, test="level", goal=goal, **claim)


def compare_conditions(agent: str, better: str, worse: str) -> Question:
    """One agent succeeds more often under one condition than under another."""
    claim = Claim(f"{agent} succeeds more often {better} than {worse}", "success", better, (worse,), paired=True)
    return Question(claim, {where: (agent, "success", (where,)) for where in (better, worse)})


def needs_memory(agent: str, env: str) -> Question:
    """One agent succeeds more often as it learnt than with a fresh recurrent state at every step."""
    without = f"{agent} without memory"
    claim = Claim(f"{agent} needs its memory", "success", agent, (without,), paired=True)
    return Question(claim, {agent: (agent, "success", (env,)), without: (agent, "success without memory", (env,))})


_AHEAD = "information of the set on the tile ahead"
TELLS = (
    compare("the active set tells more of the situation than one drawn at random", _AHEAD, "metarims", "random"),
    Question(
        Claim(
            "it tells more than the set that the agent's first weights choose at the same steps",
            _AHEAD,
            "trained",
            ("first weights",),
            paired=True,
        ),
        {
            "trained": ("metarims", _AHEAD, None),
            "first weights": ("metarims", f"{_AHEAD}, first weights", None),
        },
    ),
)
"""Whether the set of modules that acts says more of what the agent sees than sets that nobody learnt."""


def marks(moment: str) -> tuple[Question, Question]:
    """One module acts at nearly all such moments, and more so than a module of the random router."""
    return (
        level(
            f"one module acts {moment} of nearly all solved episodes",
            f"share of one module {moment}",
            "metarims",
            0.95,
        ),
        compare(
            f"one module acts {moment} more than elsewhere, compared with sets drawn at random",
            f"lead of one module {moment}",
            "metarims",
            "random",
        ),
    )


def degradation(agent: str) -> Question:
    """Of one agent that has learnt a larger room: how much less often it succeeds on 5x5."""
    return level(
        f"{agent}, where it has learnt a larger room, loses at most a tenth of success on 5x5",
        "success lost",
        f"{agent} backward",
        0.1,
        designs.DOORKEY[:1],
        direction="lower",
    )
