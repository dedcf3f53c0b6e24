"""Studies beyond the paper: harder tasks, new compositions, many tasks at once and one after another."""

from typing import Any

from metarims.studies import measures
from metarims.studies.hypotheses import compare, learnt
from metarims.studies.plans import Hypothesis, Measure, Plan, Scale, Stage, Study

COMPARED: dict[str, tuple[str, dict[str, Any]]] = {
    "metarims": ("metarims", {}),
    "modular": ("modular", {}),
    "modular, set": ("modular", {"network.input": "set"}),
    "vanilla": ("vanilla", {}),
    "vanilla, set": ("vanilla", {"network.input": "set"}),
}
"""Agents and settings: with set input for one agent with modules and one without, to separate the two effects."""

HARD = (
    "BabyAI-PickupLoc-v0",
    "BabyAI-UnlockLocal-v0",
    "BabyAI-UnlockPickup-v0",
    "BabyAI-PutNextLocal-v0",
    "BabyAI-GoTo-v0",
    "BabyAI-GoToObjMaze-v0",
    "BabyAI-Open-v0",
    "BabyAI-GoToSeqS5R2-v0",
    "BabyAI-SynthS5R2-v0",
    "BabyAI-MiniBossLevel-v0",
    "BabyAI-KeyCorridorS3R2-v0",
    "MiniGrid-ObstructedMaze-1Dl-v0",
)
"""Levels of BabyAI and MiniGrid beyond going to one of a few objects."""

HELD_OUT = "red_key,green_ball,blue_box"
"""Compositions of a colour and a type that no mission of training names; each colour and each type occurs in others."""
OTHERS = "purple_key,yellow_ball,grey_box"
COMPOSED = ("BabyAI-GoToLocal-v0", "BabyAI-PickupLoc-v0", "BabyAI-PutNextLocal-v0")
VERBS = {"BabyAI-GoToLocal-v0": HELD_OUT, "BabyAI-PickupLoc-v0": OTHERS}
"""Trained together: each verb is asked of what is held out of the other."""

MANY = (
    "BabyAI-GoToObj-v0",
    "BabyAI-GoToLocal-v0",
    "BabyAI-PickupLoc-v0",
    "MiniGrid-DoorKey-5x5-v0",
    "MiniGrid-MemoryS7-v0",
    "MiniGrid-Fetch-5x5-N2-v0",
)
"""Tasks that one agent learns at once."""

SEQUENCE = (
    "BabyAI-GoToRedBallGrey-v0",
    "BabyAI-GoToObj-v0",
    "MiniGrid-DoorKey-5x5-v0",
    "MiniGrid-MemoryS7-v0",
    "BabyAI-GoToLocalS5N2-v0",
)
"""Tasks that one agent learns one after another, twice."""
SEQUENCE_FRAMES = 100_000
"""Environment steps on each, at most."""


def _plans(scale: Scale, stages: tuple[Stage, ...], *measure: Measure, most_frames: int | None = None):
    labels = list(COMPARED)[: 2 if scale.name == "smoke" else None]
    return tuple(Plan(label, COMPARED[label][0], stages, measure, COMPARED[label][1], most_frames) for label in labels)


def hard(scale: Scale) -> tuple[Plan, ...]:
    """Every agent on every hard level, with the same number of steps."""
    return tuple(
        plan
        for task in HARD[: scale.tasks]
        for plan in _plans(scale, (Stage(task),), measures.learning, measures.milestones)
    )


def compositions(scale: Scale) -> tuple[Plan, ...]:
    """Training without some compositions of colour and type, or of verb and object, and success on both kinds."""
    plans = ()
    for task in COMPOSED[: scale.tasks]:
        seen, held_out = f"{task}?without={HELD_OUT}", f"{task}?only={HELD_OUT}"
        plans += _plans(scale, (Stage(seen),), measures.learning, measures.composition(task, seen, held_out))
    if scale.name == "smoke":
        return plans
    together = "+".join(f"{task}?without={things}" for task, things in VERBS.items())
    verbs = [
        measures.composition(f"{task}, verbs", f"{task}?without={things}", f"{task}?only={things}")
        for task, things in VERBS.items()
    ]
    return plans + _plans(scale, (Stage(together),), *verbs)


def multitask(scale: Scale) -> tuple[Plan, ...]:
    """One agent on a mixture, and agents of each task alone with the steps that the scale gives it; the mixture has the
    sum of them."""
    many = MANY[: scale.tasks]
    mixture, success = (Stage("+".join(many)),), measures.transfer(*many)
    informative = success, measures.task_information(*many)
    labels = list(COMPARED.items())[: 1 if scale.name == "smoke" else None]
    together = tuple(
        Plan(label, agent, mixture, (success,) if agent == "vanilla" else informative, settings)
        for label, (agent, settings) in labels
    )
    alone = tuple(
        Plan(f"{label} alone", agent, (Stage(task),), (measures.transfer(task),), settings)
        for task in many
        for label, (agent, settings) in labels
    )
    if scale.name == "smoke":
        return together + alone
    return (*together, Plan("random", "random", mixture, informative), *alone)


def continual(scale: Scale) -> tuple[Plan, ...]:
    """A sequence of tasks, twice: with both loops, with the fast loop alone from the second stage on, and with all
    parameters in one loop."""
    tasks = SEQUENCE[: scale.tasks]
    sequence = tasks if scale.name == "smoke" else tasks * 2
    stages = tuple(Stage(task) for task in sequence)
    # A slow loop that learns nothing must not collect data of its own.
    frozen = {"lr_multipliers.attention": 0.0, "lr_multipliers.value": 0.0, "slow_data": "reuse"}
    fast = stages[:1] + tuple(Stage(task, frozen) for task in sequence[1:])
    found = tuple(
        Plan(label, agent, of_agent, (measures.continual,), {}, SEQUENCE_FRAMES)
        for label, agent, of_agent in (
            ("both loops", "metarims", stages),
            ("fast loop only", "metarims", fast),
            ("one loop", "modular", stages),
            ("LSTM", "vanilla", stages),
        )
    )
    return found[:2] if scale.name == "smoke" else found


def _more_success_together(label: str) -> Hypothesis:
    return compare(
        f"{label} succeeds more often after a mixture of tasks than after each alone",
        "success",
        label,
        f"{label} alone",
    )


_INFORMATION = measures.TASK_INFORMATION
_AREA, _LOST = "area of success", "success lost"

STUDIES = (
    Study(
        "hard",
        "Levels beyond one room",
        "about Figures 3 and 4",
        "The paper's gains are larger on more difficult tasks, in its words; it names none of these.",
        hard,
        (
            compare(
                "metarims learns hard levels faster than modular and vanilla", _AREA, "metarims", "modular", "vanilla"
            ),
            compare("modular learns hard levels faster than vanilla", _AREA, "modular", "vanilla"),
            compare("modules learn hard levels faster than an LSTM from a set", _AREA, "modular, set", "vanilla, set"),
        ),
        ("curves", "profile", "points"),
    ),
    Study(
        "compositions",
        "New compositions of what is known",
        "mentioned in section 1",
        "Modules should serve in novel combinations of existing pieces of knowledge; the paper does not test it.",
        compositions,
        (
            compare("metarims loses less than vanilla", _LOST, "metarims", "vanilla", direction="lower"),
            compare("modular loses less than vanilla", _LOST, "modular", "vanilla", direction="lower"),
            compare(
                "modules lose less than an LSTM, both with a set",
                _LOST,
                "modular, set",
                "vanilla, set",
                direction="lower",
            ),
        ),
        ("curves", "points"),
    ),
    Study(
        "multitask",
        "Many tasks at once",
        "mentioned in section 1",
        "Modules should keep tasks apart; the paper does not train on several at once.",
        multitask,
        (
            *map(_more_success_together, COMPARED),
            compare("metarims succeeds more often on a mixture than vanilla", "success", "metarims", "vanilla"),
            compare("modular succeeds more often on a mixture than vanilla", "success", "modular", "vanilla"),
            compare("active sets say more of the task than random ones", _INFORMATION, "metarims", "random"),
            learnt(
                "active sets say more of the task than those of the untrained agent at the same steps", _INFORMATION
            ),
        ),
        ("points",),
    ),
    Study(
        "continual",
        "Tasks one after another, twice",
        "mentioned in section 1",
        "Attention should stay and modules adapt when the task changes; the paper does not measure it.",
        continual,
        tuple(
            compare(f"{better} {phrase} than {worse}", name, better, worse)
            for name, phrase in (
                ("backward transfer", "retains more"),
                ("forward transfer", "begins new tasks better"),
                ("savings", "saves more when a task returns"),
            )
            for better, worse in (
                ("fast loop only", "both loops"),
                ("both loops", "one loop"),
                ("both loops", "LSTM"),
            )
        ),
        ("points",),
    ),
)
