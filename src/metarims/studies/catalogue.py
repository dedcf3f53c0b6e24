"""The studies: every figure and table of the paper, two that it speaks of and does not run, and two about what
transfers."""

from metarims.errors import unknown_name
from metarims.studies import designs, measures, questions
from metarims.studies.plans import Question, Study
from metarims.studies.verdicts import Claim


def study(name: str) -> Study:
    """A study by name; an unknown one is a ``UserError``."""
    if name not in STUDIES:
        raise unknown_name("study", name, STUDIES, "metarims study list")
    return STUDIES[name]


_PAPERS = ("metarims", "modular", "vanilla")
"""The agents that the paper compares throughout."""

_ALL = (
    Study(
        "fig3",
        "Sample efficiency",
        "Figures 3 and 4",
        "metarims learns faster than modular, and modular faster than vanilla, in return and success, on nine tasks.",
        lambda scale: designs.each(_PAPERS, designs.NINE, scale, measures.learning),
        (
            questions.compare(
                "metarims learns faster than modular and vanilla (return)",
                "area of return",
                "metarims",
                "modular",
                "vanilla",
            ),
            questions.compare("modular learns faster than vanilla (return)", "area of return", "modular", "vanilla"),
            questions.compare(
                "metarims learns faster than modular and vanilla (success)",
                "area of success",
                "metarims",
                "modular",
                "vanilla",
            ),
            questions.compare("modular learns faster than vanilla (success)", "area of success", "modular", "vanilla"),
        ),
        ("curves", "profile"),
    ),
    Study(
        "table1",
        "Zero-shot transfer to larger rooms",
        "Table 1 and Figure 10",
        "Trained on the easiest DoorKey; Difficult: S 1.0 / 1.0 / .89 (metarims / vanilla / modular); More difficult: "
        "S .47 / .19 / .02, R .45 / .18 / .01. Backward transfer does not degrade much.",
        designs.transfers,
        (
            questions.compare(
                "metarims transfers to the more difficult room better than both",
                "success",
                "metarims",
                "vanilla",
                "modular",
                wheres=designs.DOORKEY[2:3],
            ),
            questions.level(
                "metarims succeeds in .47 of the more difficult room's episodes",
                "success",
                "metarims",
                0.47,
                designs.DOORKEY[2:3],
            ),
            *map(questions.degradation, _PAPERS),
        ),
        ("points",),
    ),
    Study(
        "fig5a",
        "Curriculum: transferred against from scratch",
        "Figure 5a",
        "Fine-tuned on a harder task, metarims reuses what it learnt on easier ones better than vanilla does. "
        "(Only steps on the last task count.)",
        designs.curriculum,
        (
            questions.compare(
                "metarims learns the last task faster after the easier ones than from scratch",
                "area of success",
                "metarims transferred",
                "metarims from scratch",
            ),
            questions.compare(
                "after the curriculum metarims learns faster than vanilla",
                "area of success",
                "metarims transferred",
                "vanilla transferred",
            ),
        ),
        ("curves",),
    ),
    Study(
        "fig5b",
        "An LSTM that learns at two speeds",
        "Figure 5b",
        "metalstm is better than vanilla.",
        lambda scale: designs.each(
            ("metalstm", "vanilla"), ("BabyAI-GoToObj-v0", "BabyAI-GoToRedBallGrey-v0"), scale, measures.learning
        ),
        (questions.compare("metalstm learns faster than vanilla", "area of success", "metalstm", "vanilla"),),
        ("curves",),
    ),
    Study(
        "fig6a",
        "How many modules act, and how much slower the slow loop is",
        "Figure 6a",
        "Sparse activation (3 of 5) learns faster than dense; longer outer spans learn faster.",
        designs.sparsity,
        (
            questions.compare("3 active modules learn faster than 5", "area of success", "k=3", "k=5"),
            questions.compare(
                "spans 4 times longer learn faster than equal ones", "area of success", "ratio 4", "ratio 1"
            ),
        ),
        ("curves", "points"),
    ),
    Study(
        "fig6b",
        "Module activations",
        "Figure 6b",
        "All modules take part; none is dead.",
        lambda scale: designs.activities(
            scale, (designs.OBSTACLES, designs.PUT_NEAR), ("metarims", "two active", "random", "drawn", "fixed")
        ),
        (
            questions.level(
                "in nine agents of ten no module is dead (each acts at 1 % of the steps or more)",
                "every module acts",
                "metarims",
                0.9,
                yes_or_no=True,
            ),
            *questions.TELLS,
            *(
                questions.compare(
                    f"modules that attention chooses learn faster than {others}", "area of success", "metarims", label
                )
                for label, others in (("drawn", "as many drawn by lot"), ("fixed", "the same ones all the time"))
            ),
        ),
        ("curves", "raster", "points"),
    ),
    Study(
        "fig7",
        "The value over a meta-episode",
        "Figure 7",
        "The value rises as the agent comes near its target.",
        lambda scale: designs.each(("metarims",), ("BabyAI-GoToLocalS6N4-v0",), scale, measures.values),
        (
            questions.level(
                "within an episode the value rises towards its end (rank correlation with time above 0.1)",
                "rank correlation of value and time",
                "metarims",
                0.1,
            ),
        ),
        ("values", "points"),
    ),
    Study(
        "fig8",
        "Which parameters are slow, and slow by what",
        "Figure 8",
        "metaflip (attention fast, modules slow) and slowlr (one loop, slower rate) learn slower than metarims.",
        lambda scale: designs.each(
            ("metarims", "metaflip", "slowlr"),
            ("BabyAI-GoToObj-v0", "BabyAI-GoToRedBallGrey-v0"),
            scale,
            measures.learning,
        ),
        (
            questions.compare(
                "metarims learns faster than metaflip and slowlr", "area of success", "metarims", "metaflip", "slowlr"
            ),
        ),
        ("curves",),
    ),
    Study(
        "fig9",
        "Switching modules off that win",
        "Figure 9",
        "Frames for 20 episodes with 3 / 2 / 1 of the winning modules active: 192 / 243 / 2179 (on a task that is not "
        "named, and in which an episode can take 109 steps: DoorKey-5x5 has 250).",
        lambda scale: designs.each(("metarims",), designs.DOORKEY[:1], scale, measures.switching_off),
        (
            Question(
                Claim(
                    "episodes take longer with one active module than with all",
                    "frames for 20 episodes",
                    "all",
                    ("one",),
                    direction="lower",
                    paired=True,
                ),
                {
                    "all": ("metarims", "frames for 20 episodes", ("all that win",)),
                    "one": ("metarims", "frames for 20 episodes", ("1 of them, drawn",)),
                },
            ),
        ),
        ("points",),
    ),
    Study(
        "fig11",
        "Modules in the memory hallway",
        "Figures 11 and 12",
        "One module always acts when the goal is near, another at the junction.",
        lambda scale: designs.activities(scale, (designs.MEMORY,), ("metarims", "random")),
        (
            *questions.marks("at the last step"),
            *questions.marks("at the junction"),
            questions.level(
                "in nine agents of ten these are two modules, not one",
                "another module at the junction",
                "metarims",
                0.9,
                yes_or_no=True,
            ),
            *questions.TELLS,
        ),
        ("curves", "raster", "points"),
    ),
    Study(
        "forgetting",
        "What later tasks leave of earlier ones",
        "spoken of in section 1",
        "Sparse, modular learning should interfere less; the paper does not measure it.",
        designs.forgetting,
        (
            questions.compare(
                "metarims loses less of the first task than modular and vanilla, where it had been learnt",
                "success lost",
                "metarims",
                "modular",
                "vanilla",
                direction="lower",
            ),
        ),
        ("points",),
    ),
    Study(
        "adaptation",
        "Frames to recover after the task changes",
        "spoken of in section 1",
        "Fast adaptation of modules should do when the task changes; the paper does not measure it.",
        designs.adaptation,
        (
            questions.compare(
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
        "What zero-shot transfer is made of",
        "about Table 1",
        "Modules that were learnt in one room should be put to use in another; the paper does not ask what of an agent "
        "it is that transfers.",
        lambda scale: designs.each(_PAPERS, designs.DOORKEY[:1], scale, measures.taken_apart(designs.DOORKEY[2])),
        (
            *(questions.compare_conditions(agent, "as trained", "without memory") for agent in _PAPERS),
            *(questions.compare_conditions(agent, "at temperature 2", "as trained") for agent in _PAPERS),
            questions.compare(
                "metarims transfers better than both where all draw their actions as evenly",
                "success",
                "metarims",
                "vanilla",
                "modular",
                wheres=(measures.AS_EVEN,),
            ),
        ),
        ("points",),
    ),
    Study(
        "hallway",
        "Zero-shot transfer that needs memory",
        "about Table 1",
        "What modules learn at two speeds should serve in situations that are new. Larger rooms of DoorKey ask for no "
        "memory; at the end of a hallway an agent must know which object it saw at the beginning.",
        lambda scale: designs.each(
            _PAPERS,
            designs.HALLWAYS[:1],
            scale,
            measures.learning,
            measures.transfer(*designs.HALLWAYS),
            measures.no_memory(*designs.HALLWAYS[:2]),
        ),
        (
            *(questions.needs_memory(agent, designs.HALLWAYS[0]) for agent in _PAPERS),
            *(
                questions.level(
                    f"{agent} succeeds in .6 of the next longer hallway's episodes, where guessing gives .5",
                    "success",
                    agent,
                    0.6,
                    designs.HALLWAYS[1:2],
                )
                for agent in _PAPERS
            ),
            questions.compare(
                "metarims transfers to the next longer hallway better than both",
                "success",
                "metarims",
                "vanilla",
                "modular",
                wheres=designs.HALLWAYS[1:2],
            ),
        ),
        ("curves", "points"),
    ),
)

STUDIES: dict[str, Study] = {found.name: found for found in _ALL}
