"""The studies: every figure and table of the paper, and two that it speaks of and does not run."""

from collections.abc import Sequence

from metarims.config import GROUPS
from metarims.errors import unknown_name
from metarims.presets import preset
from metarims.studies import measures
from metarims.studies.plans import Measure, Plan, Question, Scale, Stage, Study
from metarims.studies.verdicts import Claim

DOORKEY = tuple(f"MiniGrid-DoorKey-{size}x{size}-v0" for size in (5, 6, 8, 16))
NINE = (
    "MiniGrid-DoorKey-5x5-v0",
    "BabyAI-GoToObj-v0",
    "BabyAI-GoToLocal-v0",
    "BabyAI-PickupDist-v0",
    "BabyAI-GoToRedBall-v0",
    "MiniGrid-PutNear-6x6-N2-v0",
    "MiniGrid-Fetch-8x8-N3-v0",
    "MiniGrid-FourRoomsS13-v0",
    "MiniGrid-MemoryS13Random-v0",
)
"""The tasks of Figures 3 and 4."""
OBSTACLES, PUT_NEAR = "MiniGrid-Dynamic-Obstacles-6x6-v0", "MiniGrid-PutNear-6x6-N2-v0"
MEMORY = "MiniGrid-MemoryS13Random-v0"
CURRICULUM = ("BabyAI-GoToObj-v0", "BabyAI-GoToRedBallGrey-v0", "BabyAI-GoToRedBall-v0", "BabyAI-GoToLocal-v0")

_FRAMES = {
    "MiniGrid-DoorKey-5x5-v0": (100_000, 1_000_000),
    "BabyAI-GoToObj-v0": (60_000, 1_000_000),
    "BabyAI-GoToRedBallGrey-v0": (80_000, 2_000_000),
    "MiniGrid-DoorKey-16x16-v0": (400_000, 10_000_000),
}
"""Environment steps per seed at laptop and paper scale; other tasks take those of ``_OTHERS``."""
_OTHERS = (300_000, 5_000_000)

SCALES: dict[str, Scale] = {
    "smoke": Scale("smoke", "debug", 2, 4, lambda env: 1_024, grid=256, learnt=0.0, tasks=2),
    "laptop": Scale("laptop", "default", 10, 100, lambda env: _FRAMES.get(env, _OTHERS)[0], grid=1_280),
    "paper": Scale("paper", "paper", 10, 500, lambda env: _FRAMES.get(env, _OTHERS)[1], grid=20_480),
}
"""smoke: whether everything works. laptop: hours on two cores, with our defaults, which learn fast.
paper: BabyAI's PPO with what the paper tells of its own settings; it needs an accelerator."""


def scale(name: str) -> Scale:
    """A scale by name; an unknown one is a ``UserError``."""
    if name not in SCALES:
        raise unknown_name("scale", name, SCALES)
    return SCALES[name]


def study(name: str) -> Study:
    """A study by name; an unknown one is a ``UserError``."""
    if name not in STUDIES:
        raise unknown_name("study", name, STUDIES, "metarims study list")
    return STUDIES[name]


def _compare(
    sentence: str, name: str, agent: str, *baselines: str, wheres: Sequence[str] | None = None, **claim
) -> Question:
    """A claim of one label against others, all measured by rows of one name."""
    tables = {label: (label, name, None if wheres is None else tuple(wheres)) for label in (agent, *baselines)}
    return Question(Claim(sentence, name, agent, baselines, **claim), tables)


def _each(
    agents: Sequence[str], tasks: Sequence[str], scale: Scale, *measure: Measure, limit: bool = True
) -> tuple[Plan, ...]:
    """Every agent on every task."""
    chosen = tasks[: scale.tasks] if limit else tasks
    return tuple(Plan(agent, agent, (Stage(task),), measure) for task in chosen for agent in agents)


def _transfers(scale: Scale) -> tuple[Plan, ...]:
    agents = ("metarims", "modular", "vanilla", "metalstm", "metaflip", "slowlr")
    if scale.name == "smoke":
        agents = agents[:3]
    forward = measures.learning, measures.transfer(*DOORKEY)
    there = _each(agents, DOORKEY[:1], scale, *forward)
    hard, easy = DOORKEY[2], DOORKEY[:2]
    back = tuple(Plan(f"{a} backward", a, (Stage(hard),), (measures.transfer(hard, *easy),)) for a in agents[:3])
    return there + back


def _curriculum(scale: Scale) -> tuple[Plan, ...]:
    stages = tuple(Stage(env) for env in CURRICULUM)
    agents, last = ("metarims", "vanilla"), stages[-1]
    if scale.name == "smoke":
        stages = stages[:2]
        last = stages[-1]
    return tuple(
        plan
        for agent in agents
        for plan in (
            Plan(f"{agent} from scratch", agent, (last,), (measures.learning,)),
            Plan(f"{agent} transferred", agent, stages, (measures.learning,)),
        )
    )


def _sparsity(scale: Scale) -> tuple[Plan, ...]:
    task = (Stage("BabyAI-GoToObj-v0"),)
    numbers = (3, 5) if scale.name == "smoke" else range(1, 6)
    active = tuple(
        Plan(f"k={k}", "metarims", task, (measures.learning,), {"network.num_modules": 5, "network.num_active": k})
        for k in numbers
    )
    fast = preset(scale.preset).fast
    slow = tuple(
        Plan(
            f"ratio {ratio}",
            "metarims",
            task,
            (measures.learning,),
            {"slow.span": fast.span * ratio, "slow.rollout": max(fast.rollout, fast.span * ratio)},
        )
        for ratio in (1, 2, 4, 8)
    )
    return active + slow


def _forgetting(scale: Scale) -> tuple[Plan, ...]:
    a, b, c = (Stage(env) for env in ("BabyAI-GoToRedBallGrey-v0", "BabyAI-GoToObj-v0", "BabyAI-PickupDist-v0"))
    agents = ("metarims", "modular", "vanilla")
    pairs = tuple(Plan(agent, agent, (a, b), (measures.kept,)) for agent in agents)
    if scale.name == "smoke":
        return pairs
    return pairs + tuple(Plan(f"{agent}, sequence", agent, (a, b, c), (measures.kept,)) for agent in agents)


def _adaptation(scale: Scale) -> tuple[Plan, ...]:
    before, after = "BabyAI-GoToObj-v0", "BabyAI-GoToRedBallGrey-v0"
    # The slow loop learns nothing, and must not take frames for itself.
    frozen = {"rates.attention": 0.0, "rates.value": 0.0, "slow_data": "reuse"}
    both = (Stage(before), Stage(after))
    return (
        Plan("both loops", "metarims", both, (measures.recovery, measures.learning)),
        Plan("fast loop only", "metarims", (both[0], Stage(after, frozen)), (measures.recovery, measures.learning)),
        Plan("vanilla", "vanilla", both, (measures.recovery, measures.learning)),
    )


def _activities(scale: Scale, tasks: Sequence[str], *measure: Measure) -> tuple[Plan, ...]:
    """metarims on some tasks, with two null models: sets drawn at random, and an agent that never learns."""
    frozen = {f"rates.{group}": 0.0 for group in GROUPS}
    untrained = tuple(
        Plan("untrained", "metarims", (Stage(task, share=0.0),), (measures.activity,), frozen) for task in tasks
    )
    return _each(("metarims", "random"), tasks, scale, *measure, measures.activity) + untrained


_TELLS = _compare(
    "the active set tells more of the situation than a random one, and than that of an agent which never learnt",
    "information of the set on the tile ahead",
    "metarims",
    "random",
    "untrained",
)


def _marks(moment: str) -> tuple[Question, Question]:
    """One module acts at nearly all such moments, and more so than a module of the random router."""
    return (
        _compare(
            f"one module acts {moment} of nearly all solved episodes",
            f"share of one module {moment}",
            "metarims",
            test="level",
            goal=0.95,
            aggregate="mean",
        ),
        _compare(
            f"one module acts {moment} more than elsewhere, compared with sets drawn at random",
            f"lead of one module {moment}",
            "metarims",
            "random",
        ),
    )


def _degradation(agent: str) -> Question:
    """Of one agent trained on 8x8: its success there, and on 5x5."""
    hard, easy = DOORKEY[2], DOORKEY[0]
    return Question(
        Claim(
            f"{agent}, trained on 8x8, loses at most a tenth on 5x5",
            "success",
            "on 5x5",
            ("on 8x8",),
            test="difference",
            goal=-0.1,
            aggregate="mean",
            paired=True,
        ),
        {
            "on 5x5": (f"{agent} backward", "success", (easy,)),
            "on 8x8": (f"{agent} backward", "success", (hard,)),
        },
    )


_ALL = (
    Study(
        "fig3",
        "Sample efficiency",
        "Figures 3 and 4",
        "metarims learns faster than modular, and modular faster than vanilla, in return and success, on nine tasks.",
        lambda scale: _each(("metarims", "modular", "vanilla"), NINE, scale, measures.learning),
        (
            _compare(
                "metarims learns faster than modular and vanilla (return)",
                "area of return",
                "metarims",
                "modular",
                "vanilla",
            ),
            _compare("modular learns faster than vanilla (return)", "area of return", "modular", "vanilla"),
            _compare(
                "metarims learns faster than modular and vanilla (success)",
                "area of success",
                "metarims",
                "modular",
                "vanilla",
            ),
            _compare("modular learns faster than vanilla (success)", "area of success", "modular", "vanilla"),
        ),
        ("curves", "profile"),
    ),
    Study(
        "table1",
        "Zero-shot transfer to larger rooms",
        "Table 1 and Figure 10",
        "Trained on the easiest DoorKey; Difficult: S 1.0 / 1.0 / .89 (metarims / vanilla / modular); More difficult: "
        "S .47 / .19 / .02, R .45 / .18 / .01. Backward transfer does not degrade much.",
        _transfers,
        (
            _compare(
                "metarims transfers to the more difficult room better than both",
                "success",
                "metarims",
                "vanilla",
                "modular",
                wheres=DOORKEY[2:3],
                goal=0.9,
            ),
            _compare(
                "metarims succeeds in .47 of the more difficult room's episodes",
                "success",
                "metarims",
                wheres=DOORKEY[2:3],
                test="level",
                goal=0.47,
                aggregate="mean",
            ),
            *map(_degradation, ("metarims", "modular", "vanilla")),
        ),
        ("points",),
    ),
    Study(
        "fig5a",
        "Curriculum: transferred against from scratch",
        "Figure 5a",
        "Fine-tuned on a harder task, metarims reuses what it learnt on easier ones better than vanilla does.",
        _curriculum,
        (
            _compare(
                "metarims learns the last task faster after the easier ones than from scratch",
                "area of success",
                "metarims transferred",
                "metarims from scratch",
            ),
            _compare(
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
        lambda scale: _each(
            ("metalstm", "vanilla"), ("BabyAI-GoToObj-v0", "BabyAI-GoToRedBallGrey-v0"), scale, measures.learning
        ),
        (_compare("metalstm learns faster than vanilla", "area of success", "metalstm", "vanilla"),),
        ("curves",),
    ),
    Study(
        "fig6a",
        "How many modules act, and how much slower the slow loop is",
        "Figure 6a",
        "Sparse activation (3 of 5) learns faster than dense; longer outer spans learn faster.",
        _sparsity,
        (
            _compare("3 active modules learn faster than 5", "area of success", "k=3", "k=5"),
            _compare("spans 4 times longer learn faster than equal ones", "area of success", "ratio 4", "ratio 1"),
        ),
        ("curves", "points"),
    ),
    Study(
        "fig6b",
        "Module activations",
        "Figure 6b",
        "All modules take part; none is dead.",
        lambda scale: _activities(scale, (OBSTACLES, PUT_NEAR)),
        (
            _compare(
                "in nine agents of ten no module is dead (each acts at 1 % of the steps or more)",
                "every module acts",
                "metarims",
                test="level",
                goal=0.9,
                aggregate="mean",
            ),
            _TELLS,
        ),
        ("raster", "points"),
    ),
    Study(
        "fig7",
        "The value over a meta-episode",
        "Figure 7",
        "The value rises as the agent comes near its target.",
        lambda scale: _each(("metarims",), ("BabyAI-GoToLocalS6N4-v0",), scale, measures.values),
        (
            _compare(
                "within an episode the value rises towards its end (rank correlation with time above 0.1)",
                "rank correlation of value and time",
                "metarims",
                test="level",
                goal=0.1,
                aggregate="mean",
            ),
        ),
        ("values", "points"),
    ),
    Study(
        "fig8",
        "Which parameters are slow, and slow by what",
        "Figure 8",
        "metaflip (attention fast, modules slow) and slowlr (one loop, slower rate) learn slower than metarims.",
        lambda scale: _each(
            ("metarims", "metaflip", "slowlr"),
            ("BabyAI-GoToObj-v0", "BabyAI-GoToRedBallGrey-v0"),
            scale,
            measures.learning,
        ),
        (
            _compare(
                "metarims learns faster than metaflip and slowlr", "area of success", "metarims", "metaflip", "slowlr"
            ),
        ),
        ("curves",),
    ),
    Study(
        "fig9",
        "Switching modules off that win",
        "Figure 9",
        "Frames for 20 episodes with 3 / 2 / 1 of the winning modules active: 192 / 243 / 2179.",
        lambda scale: _each(("metarims",), ("BabyAI-GoToObj-v0",), scale, measures.switching_off),
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
        lambda scale: _activities(scale, (MEMORY,), measures.learning),
        (
            *_marks("at the last step"),
            *_marks("at the junction"),
            _TELLS,
        ),
        ("raster", "points"),
    ),
    Study(
        "forgetting",
        "What later tasks leave of earlier ones",
        "spoken of in section 1",
        "Sparse, modular learning should interfere less; the paper does not measure it.",
        _forgetting,
        (
            _compare(
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
        _adaptation,
        (
            _compare(
                "both loops recover in fewer frames than the fast loop alone",
                "frames to recover",
                "both loops",
                "fast loop only",
                direction="lower",
            ),
        ),
        ("curves", "points"),
    ),
)

STUDIES: dict[str, Study] = {found.name: found for found in _ALL}
