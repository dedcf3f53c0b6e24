"""Every setting: typed, with one line of meaning, and each check that crosses fields.

The command line, a run's ``config.json`` and the documentation are generated from these dataclasses.
"""

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, get_type_hints

from metarims.errors import UserError, format_value, unknown_name
from metarims.fields import coerce

GROUPS = ("encoder", "modules", "attention", "policy", "value")
"""The named parameter groups of every agent (an LSTM agent's ``attention`` is empty)."""


LARGEST = 3e38
"""Numbers must stay below: the agents compute with 32 bits."""


@dataclass(frozen=True)
class Network:
    """Sizes of the agent."""

    image_dim: int = 16
    """Channels per tile after the first convolution (8x8 pixels, stride 8)."""
    word_dim: int = 32
    """Width of a word's embedding."""
    mission_dim: int = 64
    """Width of the GRU that reads the mission (0: the agent does not read missions)."""
    fusion: Literal["film", "concat"] = "film"
    """How the mission meets the image: it modulates the tiles' features (FiLM), or is only appended to them."""
    feature_dim: int = 64
    """Width of what the core reads."""
    feature_rms_limit: float = 1.0
    """What the core reads is damped, so that its root mean square stays below this (0: it is left as it is). Without a
    limit features may grow until learning stalls."""
    lstm_dim: int = 128
    """State of the LSTM core."""
    num_modules: int = 5
    """RIM core: N, the number of modules (paper: 5)."""
    num_active: int = 3
    """RIM core: k, how many modules act at a step (paper: 3)."""
    module_dim: int = 32
    """RIM core: state of one module."""
    cell: Literal["lstm", "gru"] = "lstm"
    """RIM core: the modules' recurrent cell."""
    input_heads: int = 1
    """RIM core: heads of the input attention."""
    key_dim: int = 32
    """RIM core: width of the input attention's queries and keys, per head."""
    value_dim: int = 64
    """RIM core: width of what a module reads of the input, per head."""
    communication_heads: int = 4
    """RIM core: heads of the communication attention (0: modules do not talk)."""
    communication_dim: int = 32
    """RIM core: width of the communication's queries, keys and values, over all heads."""
    communication_gate: bool = False
    """RIM core: pass what is heard through sigmoid-gate x tanh, as in the official RIMs code."""
    router: Literal["attention", "random", "fixed", "all"] = "attention"
    """RIM core: who acts: the modules that attend most to the input, as many drawn at random, as many that are always
    the same, or all."""
    mission_init_scale: float = 0.2
    """Scale of the first weights from the mission to the features (1: as all others). What means nothing yet is noise
    that hides what does: mission, attention and messages therefore begin quietly."""
    key_init_scale: float = 0.01
    """RIM core: the same for the input attention's keys: all modules begin by attending about a half. Who acts is
    decided by order, however small the differences are."""
    message_init_scale: float = 0.1
    """RIM core: the same for what modules tell each other."""
    head_dim: int = 64
    """Hidden layer of the policy head and of the value head (0: linear heads)."""


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation (Schulman et al., 2017) with generalised advantages."""

    num_envs: int = 8
    """Environments stepped side by side, per seed."""
    shards: int = 1
    """Groups of environments that may each have a device of its own (``--devices``). Each learns from as many of its
    spans in a gradient step, and draws its own levels: results depend on the number of groups, not on the devices."""
    gamma: float = 0.99
    """Discount (paper: 0.99)."""
    gae_lambda: float = 0.95
    """GAE's lambda (paper: 0.99)."""
    clip: float = 0.2
    """Clip range of the probability ratio."""
    clip_value: bool = False
    """Clip the change of the value, by the same range, as in PPO's first code."""
    value_coef: float = 0.5
    """Weight of the value loss (c1)."""
    entropy_coef: float = 0.004
    """Weight of the entropy bonus (c2)."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this before learning (BabyAI: 20); records always show the plain return."""
    normalize_advantages: bool = False
    """Standardise advantages over each minibatch."""
    adam_eps: float = 1e-5
    """Adam's epsilon."""
    rate_horizon: int = 300_000
    """Learning rates fall with the environment steps per seed, by 1 / sqrt(1 + steps / this); 0: they stay, and
    agents may come apart after some millions of steps."""
    target_kl: float = 0.02
    """An update makes no further pass over its data once one has moved the policy so far from the one that acted (KL
    divergence; 0: it always makes all ``epochs``)."""


@dataclass(frozen=True)
class Loop:
    """How one timescale learns from what it collects."""

    span: int
    """Steps through which gradients flow."""
    rollout: int
    """Steps per environment that one update learns from; a multiple of the span."""
    epochs: int = 8
    """Most passes over that data; ``ppo.target_kl`` may end an update earlier."""
    minibatches: int = 4
    """Parts into which the spans are divided, each one gradient step."""
    learning_rate: float = 1e-3
    """Adam's step size, at the beginning (``ppo.rate_horizon``)."""
    max_grad_norm: float = 0.5
    """Gradients of this timescale's groups are clipped to this joint norm."""


@dataclass(frozen=True)
class LRMultipliers:
    """Learning rates of the groups of parameters, as fractions of their loop's."""

    encoder: float = 1.0
    """Of the encoder of picture and mission."""
    modules: float = 1.0
    """Of the recurrent modules (of the LSTM, where there are none)."""
    attention: float = 1.0
    """Of both attentions."""
    policy: float = 1.0
    """Of the policy head."""
    value: float = 1.0
    """Of the value head."""


@dataclass(frozen=True)
class Config:
    """One training run."""

    agent: str = "metarims"
    """Which core learns by which rule: metarims, modular, vanilla, metalstm, metaflip, slowlr, random, dense or
    threespeeds."""
    env: str = "BabyAI-GoToLocal-v0"
    """Id of the task: one of ours, a mixture ("ID*3+ID"), or any other that Gymnasium knows ("ID", "module:ID")."""
    frames: int = 1_000_000
    """Environment steps per seed, over all environments and both loops."""
    seeds: tuple[int, ...] = (0,)
    """Each seed is an independent agent. An accelerator trains them side by side, a processor one after another, unless
    ``--devices`` gives them threads. Tasks on the host: always side by side."""
    init_from: str = ""
    """Whose weights the agents begin with, all else being fresh: a run's folder (of the agent with the same seed), an
    agent's .safetensors file, or an agent that comes with the package, such as doorkey (default: fresh weights)."""
    network: Network = field(default_factory=Network)
    ppo: PPO = field(default_factory=PPO)
    fast: Loop = field(default_factory=lambda: Loop(span=20, rollout=40))
    """The fast (inner) loop; agents with one loop use this alone."""
    slow: Loop = field(default_factory=lambda: Loop(span=80, rollout=80))
    """The slow (outer) loop. A third timescale stretches it once more, by ``slow.span`` / ``fast.span``."""
    lr_multipliers: LRMultipliers = field(default_factory=LRMultipliers)
    """Learning rates of single groups."""
    encoder_speed: Literal["fast", "slow", "both"] = "fast"
    """Which loop trains the encoder (the paper leaves it open)."""
    slow_data: Literal["fresh", "reuse"] = "reuse"
    """The slow loop learns from the steps of the fast loop, or from newly sampled ones, on which the fast loop does not
    learn (Algorithm 1)."""
    slow_factor: float = 0.25
    """``slowlr``: learning rate of the attention, as a fraction of the others'."""
    recurrent_state: Literal["reset", "carry"] = "reset"
    """The recurrent state at an episode's end: set to zero, or carried through the meta-episode."""
    words: tuple[str, ...] = ()
    """Tasks on the host: words of their missions beyond those of Farama's tasks."""
    max_words: int = 0
    """Tasks on the host: length of the longest mission (0: judged by some of them)."""
    max_missions: int = 0
    """Tasks on the host: different missions within one update's steps (0: as many as episodes of 16 steps give)."""
    record_every: int = 20_000
    """Environment steps per seed between two lines of metrics, rounded up to whole updates; the run's chunk."""
    checkpoint_every: int = 5
    """Chunks between two checkpoints; a killed run loses at most these."""
    on_nan: Literal["stop", "restart"] = "stop"
    """What a seed does whose loss becomes NaN or explodes (gradient norm above 1e6): it stops with its last good agent,
    or goes on from that with other actions drawn, at most 3 times. The other seeds go on either way."""

    def __post_init__(self):
        for name, hint in get_type_hints(Config).items():
            object.__setattr__(self, name, coerce(hint, getattr(self, name), name))
        check(self)


def check(config: Config) -> None:
    """Raise ``UserError`` for the first setting that cannot work, naming field, value and remedy."""
    from metarims.learning.rules import RULES

    if config.agent not in RULES:
        raise unknown_name("agent", config.agent, RULES)
    if not config.seeds:
        raise UserError("seeds is empty: name at least one seed, for example --seeds 0.")
    if len(set(config.seeds)) != len(config.seeds) or min(config.seeds) < 0 or max(config.seeds) >= 2**31:
        raise UserError(f"seeds {config.seeds} must be distinct integers from 0 to 2147483647.")
    net, ppo = config.network, config.ppo
    positive = {
        "frames": config.frames,
        "record_every": config.record_every,
        "checkpoint_every": config.checkpoint_every,
        "ppo.num_envs": ppo.num_envs,
        "ppo.shards": ppo.shards,
        **{f"network.{name}": getattr(net, name) for name in _SIZES},
        **{f"{name}.{f.name}": getattr(loop, f.name) for name, loop in loops(config) for f in dataclasses.fields(Loop)},
        "ppo.reward_scale": ppo.reward_scale,
        "ppo.adam_eps": ppo.adam_eps,
        "ppo.clip": ppo.clip,
    }
    for name, value in positive.items():
        if not 0 < value < LARGEST:
            raise UserError(f"{name} is {format_value(value)}: it must be greater than zero and finite (below 3e38).")
    for name, value in (("gamma", ppo.gamma), ("gae_lambda", ppo.gae_lambda)):
        if not 0 <= value <= 1:
            raise UserError(f"ppo.{name} is {value}: it must lie between 0 and 1.")
    for name, value in dataclasses.asdict(config.lr_multipliers).items():
        if not 0 <= value < LARGEST:
            raise UserError(
                f"lr_multipliers.{name} is {value}: it must be zero or more (zero: the group stays as it is)."
            )
    for name in ("value_coef", "entropy_coef", "target_kl"):
        value = getattr(ppo, name)
        if not 0 <= value < LARGEST:
            raise UserError(f"ppo.{name} is {value}: it must be zero or more, and finite.")
    counts = {"max_words": config.max_words, "max_missions": config.max_missions, "ppo.rate_horizon": ppo.rate_horizon}
    for name, value in counts.items():
        if value < 0:
            raise UserError(f"{name} is {value}: it must be zero or more.")
    _check_words(config.words)
    for name in _ZERO_OR_MORE:
        if not 0 <= getattr(net, name) < LARGEST:
            raise UserError(f"network.{name} is {getattr(net, name)}: it must be zero or more.")
    if net.num_active > net.num_modules:
        raise UserError(
            f"network.num_active is {net.num_active}, but there are only {net.num_modules} modules "
            "(network.num_modules): at most all of them can be active."
        )
    if net.communication_heads and net.communication_dim % net.communication_heads:
        raise UserError(
            f"network.communication_heads ({net.communication_heads}) does not divide "
            f"network.communication_dim ({net.communication_dim})."
        )
    if ppo.num_envs % ppo.shards:
        raise UserError(f"ppo.shards ({ppo.shards}) does not divide ppo.num_envs ({ppo.num_envs}).")
    for name, loop in loops(config):
        if loop.rollout % loop.span:
            raise UserError(f"{name}.span ({loop.span}) does not divide {name}.rollout ({loop.rollout}).")
        num_spans = ppo.num_envs // ppo.shards * loop.rollout // loop.span
        if num_spans % loop.minibatches:
            shards = f" / ppo.shards {ppo.shards}" if ppo.shards > 1 else ""
            raise UserError(
                f"{name}.minibatches ({loop.minibatches}) does not divide the {num_spans} spans of one update "
                f"(ppo.num_envs {ppo.num_envs}{shards} x {name}.rollout {loop.rollout} / {name}.span {loop.span})."
            )
    if len(loops(config)) > 1:
        for name in ("span", "rollout"):
            fast, slow = getattr(config.fast, name), getattr(config.slow, name)
            if slow % fast:
                raise UserError(
                    f"fast.{name} ({fast}) does not divide slow.{name} ({slow}): the slow loop reads whole "
                    f"{name}s of the fast one."
                )
    if not 0 < config.slow_factor <= 1:
        raise UserError(f"slow_factor is {config.slow_factor}: it must be greater than 0 and at most 1.")


def _check_words(words: tuple[str, ...]) -> None:
    for word, count in Counter(words).items():
        if count > 1:
            raise UserError(f"words holds '{word}' twice: name each word once.")
        if not word or word != word.lower() or any(mark in word for mark in ", \t\n"):
            raise UserError(f"words holds '{word}': a word has small letters only, no comma and no space.")


_SIZES = (
    "image_dim",
    "word_dim",
    "feature_dim",
    "lstm_dim",
    "num_modules",
    "num_active",
    "module_dim",
    "input_heads",
    "key_dim",
    "value_dim",
    "communication_dim",
)
_ZERO_OR_MORE = (
    "mission_dim",
    "head_dim",
    "communication_heads",
    "mission_init_scale",
    "key_init_scale",
    "message_init_scale",
    "feature_rms_limit",
)


def loops(config: Config) -> tuple[tuple[str, Loop], ...]:
    """The loops that this agent's rule uses, by name, fastest first.

    The first two are settings; each further one has spans and rollouts as many times longer as the second's spans are
    than the first's.
    """
    from metarims.learning.rules import RULES

    names = [timescale.name for timescale in RULES[config.agent].timescales]
    found = [config.fast, config.slow]
    stretch = config.slow.span // max(1, config.fast.span)
    while len(found) < len(names):
        last = found[-1]
        found.append(dataclasses.replace(last, span=last.span * stretch, rollout=last.rollout * stretch))
    return tuple(zip(names, found, strict=False))
