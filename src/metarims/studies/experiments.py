"""The plans of each study: which agents train on which tasks, and what is measured."""

from collections.abc import Sequence
from typing import Any

from metarims.presets import preset
from metarims.studies import measures
from metarims.studies.plans import Measure, Plan, Scale, Stage

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
HALLWAYS = tuple(f"MiniGrid-MemoryS{size}-v0" for size in (7, 9, 11, 13))
ABLATED = ("BabyAI-GoToLocal-v0", "BabyAI-PickupDist-v0", "MiniGrid-DoorKey-5x5-v0", "MiniGrid-MemoryS7-v0")
"""Tasks on which modules are ablated."""
CURRICULUM = ("BabyAI-GoToObj-v0", "BabyAI-GoToRedBallGrey-v0", "BabyAI-GoToRedBall-v0", "BabyAI-GoToLocal-v0")

LADDER = ("BabyAI-GoToLocal-v0", "MiniGrid-DoorKey-5x5-v0", "BabyAI-PickupDist-v0", "MiniGrid-MemoryS7-v0")
LADDER_FRAMES = 100_000
"""Environment steps, at most, of a rung of the ladder."""

_ONE = {"core.num_modules": 1, "core.num_active": 1, "core.module_dim": 128, "core.communication_heads": 0}
_MANY = {"core.num_active": 5, "core.communication_heads": 0}
_UNGATED = {"core.value_dim": 0, "core.input_gate": "none"}
RUNGS: dict[str, tuple[str, dict[str, Any]]] = {
    "LSTM": ("vanilla", {}),
    "one module": ("modular", _ONE | _UNGATED),
    "and values": ("modular", _ONE | {"core.input_gate": "none"}),
    "and a null slot": ("modular", _ONE),
    "and five modules": ("modular", _MANY),
    "and selection": ("modular", {"core.communication_heads": 0}),
    "and communication": ("modular", {}),
    "and two timescales": ("metarims", {}),
    "and a set": ("metarims", {"network.input": "set"}),
}
"""From the LSTM to the RIM, one ingredient at a time: agent and settings. One module without gate, values and
communication is the LSTM."""
BESIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "LSTM and a set": ("vanilla", {"network.input": "set"}),
    "five modules, no gate": ("modular", _MANY | {"core.input_gate": "none"}),
    "five modules, softmax over modules": ("modular", _MANY | {"core.input_gate": "modules"}),
}
"""Steps to the side of the ladder."""


def each(agents: Sequence[str], tasks: Sequence[str], scale: Scale, *measure: Measure) -> tuple[Plan, ...]:
    """Every agent on every task, as many as the scale allows."""
    return tuple(Plan(agent, agent, (Stage(task),), measure) for task in tasks[: scale.tasks] for agent in agents)


def mechanisms(scale: Scale) -> tuple[Plan, ...]:
    """Agents with modules on four tasks; and on the first, modules that attend to the elements of a set."""
    measure = (measures.learning, measures.modules_ablated)
    stages, settings = (Stage(ABLATED[0]),), {"network.input": "set"}
    looking = Plan("modular, set", "modular", stages, (*measure, measures.looking), settings)
    return (*each(("metarims", "modular"), ABLATED, scale, *measure), looking)


def transfers(scale: Scale) -> tuple[Plan, ...]:
    """Zero-shot transfer from the smallest room to larger ones, and backward from the largest that the scale can
    learn."""
    agents = ("metarims", "modular", "vanilla", "metalstm", "metaflip", "slowlr")
    if scale.name == "smoke":
        agents = agents[:3]
    forward = measures.learning, measures.transfer(*DOORKEY)
    there = each(agents, DOORKEY[:1], scale, *forward)
    largest = 2 if scale.name == "paper" else 1
    hard, easier = DOORKEY[largest], DOORKEY[:largest]
    back = tuple(
        Plan(f"{a} backward", a, (Stage(hard),), (measures.backward_transfer(hard, *easier),)) for a in agents[:3]
    )
    return there + back


def curriculum(scale: Scale) -> tuple[Plan, ...]:
    """The last of four tasks, from scratch and after the three before it."""
    stages = tuple(Stage(env) for env in (CURRICULUM[:2] if scale.name == "smoke" else CURRICULUM))
    return tuple(
        plan
        for agent in ("metarims", "vanilla")
        for plan in (
            Plan(f"{agent} from scratch", agent, stages[-1:], (measures.learning,)),
            Plan(f"{agent} transferred", agent, stages, (measures.learning,)),
        )
    )


def sparsity(scale: Scale) -> tuple[Plan, ...]:
    """The number of active modules of five, and the ratio of slow to fast span.

    At every ratio the slow loop has the same rollout, hence as many updates from as much data.
    """
    task = (Stage("BabyAI-GoToObj-v0"),)
    numbers = (3, 5) if scale.name == "smoke" else range(1, 6)
    active = tuple(
        Plan(f"k={k}", "metarims", task, (measures.learning,), {"core.num_modules": 5, "core.num_active": k})
        for k in numbers
    )
    fast, ratios = preset(scale.preset).fast, (1, 2, 4, 8)
    slow = tuple(
        Plan(
            f"ratio {ratio}",
            "metarims",
            task,
            (measures.learning,),
            {"slow.span": fast.span * ratio, "slow.rollout": fast.span * ratios[-1]},
        )
        for ratio in ratios
    )
    return active + slow


def ladder(scale: Scale) -> tuple[Plan, ...]:
    """Every rung of the ladder from the LSTM to the RIM, and the steps to its side, on four tasks."""
    rungs = RUNGS if scale.name == "smoke" else RUNGS | BESIDE
    return tuple(
        Plan(label, agent, (Stage(task),), (measures.learning,), settings, LADDER_FRAMES)
        for task in (LADDER[:1] if scale.name == "smoke" else LADDER)
        for label, (agent, settings) in rungs.items()
    )


def forgetting(scale: Scale) -> tuple[Plan, ...]:
    """Two and three tasks in sequence; the first is measured after each."""
    a, b, c = (Stage(env) for env in ("BabyAI-GoToRedBallGrey-v0", "BabyAI-GoToObj-v0", "BabyAI-PickupDist-v0"))
    agents = ("metarims", "modular", "vanilla")
    pairs = tuple(Plan(agent, agent, (a, b), (measures.retention,)) for agent in agents)
    if scale.name == "smoke":
        return pairs
    return pairs + tuple(Plan(f"{agent}, sequence", agent, (a, b, c), (measures.retention,)) for agent in agents)


def adaptation(scale: Scale) -> tuple[Plan, ...]:
    """A task, then another: with both loops, with the fast loop only, and an LSTM."""
    before, after = "BabyAI-GoToObj-v0", "BabyAI-GoToRedBallGrey-v0"
    # The slow loop learns nothing, so it must not collect data of its own.
    frozen = {"lr_multipliers.attention": 0.0, "lr_multipliers.value": 0.0, "slow_data": "reuse"}
    both = (Stage(before), Stage(after))
    return (
        Plan("both loops", "metarims", both, (measures.recovery, measures.learning)),
        Plan("fast loop only", "metarims", (both[0], Stage(after, frozen)), (measures.recovery, measures.learning)),
        Plan("vanilla", "vanilla", both, (measures.recovery, measures.learning)),
    )


def activities(scale: Scale, tasks: Sequence[str], agents: Sequence[str]) -> tuple[Plan, ...]:
    """Module activations: ``metarims``; ``two active`` of five modules; and controls with sets of modules that are
    random (``random`` learns in one loop, ``drawn`` in two) or fixed (``fixed``).

    Where a collision costs as much as a success gives, agents learn to stand still first: there the entropy
    bonus is larger.
    """
    changes = {
        "two active": {"core.num_modules": 5, "core.num_active": 2},
        "drawn": {"core.router": "random"},
        "fixed": {"core.router": "fixed"},
    }
    bold = {OBSTACLES: {"ppo.entropy_coef": 0.05}}
    if scale.name == "smoke":
        tasks = tasks[:1]
    return tuple(
        Plan(
            label,
            "random" if label == "random" else "metarims",
            (Stage(task, bold.get(task, {})),),
            (measures.learning, measures.activity),
            changes.get(label, {}),
        )
        for task in tasks[: scale.tasks]
        for label in agents
    )
