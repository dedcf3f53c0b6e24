"""The studies: every figure and table of the paper, questions that it raises without an experiment, and the
demonstration."""

import itertools

from metarims.errors import unknown_name
from metarims.studies import beyond, hypotheses, measures
from metarims.studies.experiments import (
    ABLATED,
    DOORKEY,
    HALLWAYS,
    MEMORY,
    NINE,
    OBSTACLES,
    PUT_NEAR,
    RUNGS,
    activities,
    adaptation,
    curriculum,
    each,
    forgetting,
    ladder,
    mechanisms,
    sparsity,
    transfers,
)
from metarims.studies.hypotheses import compare, level
from metarims.studies.plans import Study


def study(name: str) -> Study:
    """A study by name; an unknown one raises ``UserError``."""
    if name not in STUDIES:
        raise unknown_name("study", name, STUDIES, "metarims study list")
    return STUDIES[name]


_AGENTS = ("metarims", "modular", "vanilla")
"""The agents that the paper compares throughout."""
_MODULAR = ("metarims", "modular", "modular, set")
"""Those whose modules are ablated."""
_MESSAGES = (
    ("messages", "success without messages"),
    ("to choose to whom its modules attend", "success with messages averaged"),
)
_AREA, _RETURN = "area of success", "area of return"

_ALL = (
    Study(
        "fig3",
        "Sample efficiency",
        "Figures 3 and 4",
        "metarims learns faster than modular, and modular faster than vanilla, in return and success, on nine tasks.",
        lambda scale: each(_AGENTS, NINE, scale, measures.learning),
        (
            compare("metarims learns faster than modular and vanilla (return)", _RETURN, *_AGENTS),
            compare("modular learns faster than vanilla (return)", _RETURN, "modular", "vanilla"),
            compare("metarims learns faster than modular and vanilla (success)", _AREA, *_AGENTS),
            compare("modular learns faster than vanilla (success)", _AREA, "modular", "vanilla"),
        ),
        ("curves", "profile"),
    ),
    Study(
        "table1",
        "Zero-shot transfer to larger rooms",
        "Table 1 and Figure 10",
        "Trained on the easiest DoorKey; Difficult: S 1.0 / 1.0 / .89 (metarims / vanilla / modular); More difficult: "
        "S .47 / .19 / .02, R .45 / .18 / .01. Backward transfer degrades little.",
        transfers,
        (
            compare(
                "metarims transfers better than both to the more difficult room",
                "success",
                "metarims",
                "vanilla",
                "modular",
                conditions=DOORKEY[2:3],
            ),
            level(
                "metarims succeeds in .47 of the more difficult room's episodes",
                "success",
                "metarims",
                0.47,
                DOORKEY[2:3],
            ),
            *map(hypotheses.backward_transfer, _AGENTS),
        ),
        ("points",),
        {
            (agent, score, env): value
            for score, env, values in (
                ("success", DOORKEY[1], (1.0, 0.89, 1.0)),
                ("success", DOORKEY[2], (0.47, 0.02, 0.19)),
                ("return", DOORKEY[2], (0.45, 0.01, 0.18)),
            )
            for agent, value in zip(_AGENTS, values, strict=True)
        },
    ),
    Study(
        "fig5a",
        "Curriculum against training from scratch",
        "Figure 5a",
        "Fine-tuned on a harder task, metarims reuses what it learnt on easier ones better than vanilla. "
        "(Only steps on the last task count.)",
        curriculum,
        (
            compare(
                "metarims learns the last task faster after the curriculum than from scratch",
                _AREA,
                "metarims transferred",
                "metarims from scratch",
            ),
            compare(
                "after the curriculum metarims learns faster than vanilla",
                _AREA,
                "metarims transferred",
                "vanilla transferred",
            ),
        ),
        ("curves",),
    ),
    Study(
        "fig5b",
        "An LSTM with two timescales",
        "Figure 5b",
        "metalstm is better than vanilla.",
        lambda scale: each(
            ("metalstm", "vanilla"), ("BabyAI-GoToObj-v0", "BabyAI-GoToRedBallGrey-v0"), scale, measures.learning
        ),
        (compare("metalstm learns faster than vanilla", _AREA, "metalstm", "vanilla"),),
        ("curves",),
    ),
    Study(
        "fig6a",
        "Number of active modules, and ratio of slow to fast span",
        "Figure 6a",
        "Sparse activation (3 of 5) learns faster than dense; longer outer spans learn faster.",
        sparsity,
        (
            compare("3 active modules learn faster than 5", _AREA, "k=3", "k=5"),
            compare("a slow span 4 times as long learns faster than an equal one", _AREA, "ratio 4", "ratio 1"),
        ),
        ("curves", "points"),
    ),
    Study(
        "fig6b",
        "Module activations",
        "Figure 6b",
        "All modules take part; none is dead.",
        lambda scale: activities(scale, (OBSTACLES, PUT_NEAR), ("metarims", "two active", "random", "drawn", "fixed")),
        (
            level(
                "in nine agents of ten no module is dead (each is active at 1 % of the steps or more)",
                "every module is active",
                "metarims",
                0.9,
                yes_or_no=True,
            ),
            *hypotheses.INFORMATIVE_SETS,
            compare("modules selected by attention learn faster than random ones", _AREA, "metarims", "drawn"),
            compare("modules selected by attention learn faster than fixed ones", _AREA, "metarims", "fixed"),
        ),
        ("curves", "raster", "points"),
    ),
    Study(
        "fig7",
        "The value over a meta-episode",
        "Figure 7",
        "The value rises as the agent comes near its target.",
        lambda scale: each(("metarims",), ("BabyAI-GoToLocalS6N4-v0",), scale, measures.values),
        (
            level(
                "within an episode the value rises (rank correlation with time above 0.1)",
                "rank correlation of value and time",
                "metarims",
                0.1,
            ),
        ),
        ("values", "points"),
    ),
    Study(
        "fig8",
        "Which parameters are slow, and how",
        "Figure 8",
        "metaflip (attention fast, modules slow) and slowlr (one loop, lower learning rate) are slower than metarims.",
        lambda scale: each(
            ("metarims", "metaflip", "slowlr"),
            ("BabyAI-GoToObj-v0", "BabyAI-GoToRedBallGrey-v0"),
            scale,
            measures.learning,
        ),
        (compare("metarims learns faster than metaflip and slowlr", _AREA, "metarims", "metaflip", "slowlr"),),
        ("curves",),
    ),
    Study(
        "fig9",
        "Deactivating active modules",
        "Figure 9",
        "Frames for 20 episodes with 3 / 2 / 1 of the active modules: 192 / 243 / 2179 (on an unnamed task with "
        "episodes of up to 109 steps: DoorKey-5x5 has 250).",
        lambda scale: each(("metarims",), DOORKEY[:1], scale, measures.deactivation),
        (
            hypotheses.pair(
                "episodes take longer with one active module than with all",
                "frames for 20 episodes",
                {
                    "all": ("metarims", "frames for 20 episodes", ("all active modules",)),
                    "one": ("metarims", "frames for 20 episodes", ("1 of them, random",)),
                },
                direction="lower",
            ),
        ),
        ("points",),
        {
            ("metarims", "frames for 20 episodes", where): frames
            for where, frames in (
                ("all active modules", 192.0),
                ("2 of them, random", 243.0),
                ("1 of them, random", 2179.0),
            )
        },
    ),
    Study(
        "fig11",
        "Modules in the memory hallway",
        "Figures 11 and 12",
        "One module is always active when the goal is near, another at the junction.",
        lambda scale: activities(scale, (MEMORY,), ("metarims", "random")),
        (
            *hypotheses.marker_module("at the last step"),
            *hypotheses.marker_module("at the junction"),
            level(
                "in nine agents of ten these are two different modules",
                "a different module at the junction",
                "metarims",
                0.9,
                yes_or_no=True,
            ),
            *hypotheses.INFORMATIVE_SETS,
        ),
        ("curves", "raster", "points"),
    ),
    Study(
        "forgetting",
        "Retention of earlier tasks",
        "mentioned in section 1",
        "Sparse, modular learning should reduce interference; the paper does not measure it.",
        forgetting,
        (
            compare(
                "metarims loses less of a first task that it had learnt than modular and vanilla",
                "success lost",
                *_AGENTS,
                direction="lower",
            ),
        ),
        ("points",),
    ),
    Study(
        "adaptation",
        "Frames to recover after the task changes",
        "mentioned in section 1",
        "Fast adaptation of modules should suffice when the task changes; the paper does not measure it.",
        adaptation,
        (
            compare(
                "both loops recover in fewer frames than the fast loop alone",
                "frames to recover",
                "both loops",
                "fast loop only",
                direction="lower",
                paired=True,
            ),
        ),
        ("curves", "points"),
    ),
    Study(
        "transfer",
        "Ablations of zero-shot transfer",
        "about Table 1",
        "Modules learnt in one room should be reused in another; the paper does not ask which part of an agent "
        "transfers.",
        lambda scale: each(_AGENTS, DOORKEY[:1], scale, measures.ablations(DOORKEY[2])),
        (
            *(hypotheses.compare_conditions(agent, "as trained", "without memory") for agent in _AGENTS),
            *(hypotheses.compare_conditions(agent, "at temperature 2", "as trained") for agent in _AGENTS),
            compare(
                "metarims transfers better than both at equal entropy of the policies",
                "success",
                "metarims",
                "vanilla",
                "modular",
                conditions=(measures.EQUAL_ENTROPY,),
            ),
        ),
        ("points",),
    ),
    Study(
        "hallway",
        "Zero-shot transfer that needs memory",
        "about Table 1",
        "Modules learnt at two speeds should serve in new situations. Larger rooms of DoorKey need no memory; at the "
        "end of a hallway an agent must remember the object at its beginning.",
        lambda scale: each(
            _AGENTS,
            HALLWAYS[:1],
            scale,
            measures.learning,
            measures.transfer(*HALLWAYS),
            measures.no_memory(*HALLWAYS[:2]),
        ),
        (
            *(hypotheses.needs_memory(agent, HALLWAYS[0]) for agent in _AGENTS),
            *(
                level(
                    f"{agent} succeeds in .6 of the next longer hallway's episodes, where guessing gives .5",
                    "success",
                    agent,
                    0.6,
                    HALLWAYS[1:2],
                )
                for agent in _AGENTS
            ),
            compare(
                "metarims transfers better than both to the next longer hallway",
                "success",
                "metarims",
                "vanilla",
                "modular",
                conditions=HALLWAYS[1:2],
            ),
        ),
        ("curves", "points"),
    ),
    Study(
        "ladder",
        "From the LSTM to modules",
        "about section 2.1",
        "The paper compares whole agents; what each ingredient of theirs is worth, it does not measure.",
        ladder,
        tuple(
            compare(f"{after} learns faster than {before}", _AREA, after, before)
            for before, after in itertools.pairwise(RUNGS)
        ),
        ("curves", "points"),
    ),
    Study(
        "mechanisms",
        "What each mechanism of trained agents is worth",
        "about section 2.1",
        "Modules read by attention, compete and communicate; the paper does not measure what each contributes.",
        mechanisms,
        (
            *(
                hypotheses.needs(what, score, agent, *envs)
                for what, score in _MESSAGES
                for agent in _AGENTS[:2]
                for envs in ((), *((env,) for env in ABLATED))
            ),
            *(hypotheses.needs(what, score, "modular, set") for what, score in _MESSAGES),
            *(
                hypotheses.needs(what, score, agent)
                for what, score in (
                    ("its modules to read differently", "success with input attention averaged"),
                    ("to choose its active modules", "success with random modules"),
                )
                for agent in _MODULAR
            ),
            hypotheses.looks("modular, set"),
            *(
                level(
                    f"each module of {agent} attends to few others: the entropy is at most .9 of log N",
                    measures.ENTROPY_OF_COMMUNICATION,
                    agent,
                    0.9,
                    direction="lower",
                )
                for agent in _MODULAR
            ),
        ),
        ("curves", "points"),
    ),
    *beyond.STUDIES,
    Study(
        "demo",
        "Three agents learn one BabyAI task",
        "not in the paper",
        "",
        lambda scale: each(_AGENTS, ("BabyAI-GoToLocalS5N2-v0",), scale, measures.both_backends),
        (),
        ("curves",),
    ),
)

STUDIES: dict[str, Study] = {found.name: found for found in _ALL}
