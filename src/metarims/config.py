"""Every setting: typed, with one line of meaning, and each check that crosses fields.

The command line, a run's ``config.json`` and the documentation are generated from these dataclasses.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

from metarims.core_settings import CORES, CoreSettings
from metarims.errors import invalid, unknown_name
from metarims.fields import coerce, require_not_negative, require_positive
from metarims.rules import RULES


@dataclass(frozen=True)
class Network:
    """Sizes of the encoder and of the heads."""

    input: Literal["vector", "set"] = "vector"
    """What the core reads: one vector of features, or the set of the 49 cells and the mission, by attention."""
    image_dim: int = 16
    """Channels per tile after the first convolution (8x8 pixels, stride 8)."""
    word_dim: int = 32
    """Width of a word's embedding."""
    mission_dim: int = 64
    """Width of the GRU that reads the mission (0: the agent does not read missions)."""
    fusion: Literal["film", "concat"] = "film"
    """film: the mission scales and shifts the tile features (FiLM). concat: it only enters the dense layer."""
    film_layers: int = 2
    """Number of FiLM layers; a 1x1 convolution precedes each but the first."""
    feature_dim: int = 64
    """Width of the core's input."""
    feature_rms_limit: float = 1.0
    """Soft limit of the core input's root mean square (0: none); without it learning may stall."""
    mission_init_scale: float = 0.2
    """Initial scale of the weights from mission to features; a small one does not mask the image at first."""
    head_dim: int = 64
    """Hidden layer of the policy and value heads (0: linear heads)."""


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimization (Schulman et al., 2017) with generalized advantages."""

    num_envs: int = 8
    """Parallel environments per seed."""
    shards: int = 1
    """Groups of environments that can each run on a device of its own (--devices).
    Results depend on the number of groups, not of devices: each draws its own levels and minibatches."""
    gamma: float = 0.99
    """Discount (paper: 0.99)."""
    discount: Literal["constant", "success_length"] = "success_length"
    """constant: gamma. success_length: at most gamma, and such that a reward at the end of a successful episode (of the
    mean length of the latest hundred) counts a tenth at its beginning, but one at the time limit at least a
    ten-thousandth: a smaller discount would make quick guesses pay."""
    gae_lambda: float = 0.95
    """GAE's lambda (paper: 0.99)."""
    clip: float = 0.2
    """Clip range of the probability ratio."""
    clip_value: bool = False
    """Clip the change of the value by the same range, as in PPO's original code."""
    value_coef: float = 0.5
    """Weight of the value loss (c1)."""
    entropy_coef: float = 0.004
    """Weight of the entropy bonus (c2). Where one action changes the return little, as in FourRooms, less is better."""
    reward_scale: float = 1.0
    """Multiply rewards by this before learning (BabyAI: 20); metrics show unscaled returns."""
    normalize_advantages: bool = False
    """Standardize advantages over each minibatch."""
    adam_eps: float = 1e-5
    """Adam's epsilon."""
    lr_schedule: Literal["constant", "inverse_sqrt"] = "inverse_sqrt"
    """constant, or inverse_sqrt: decay by 1 / sqrt(1 + env_steps / lr_decay_steps).
    With a constant rate agents may diverge after some millions of steps."""
    lr_decay_steps: int = 300_000
    """Environment steps per seed after which learning rates have decayed to 1 / sqrt(2)."""
    target_kl: float = 0.02
    """End an update after an epoch whose KL divergence from the acting policy exceeds this (0: never)."""


@dataclass(frozen=True)
class Loop:
    """How one timescale learns from what it collects."""

    span: int
    """Steps of truncated backpropagation through time."""
    rollout: int
    """Steps per environment that one update learns from; a multiple of the span."""
    epochs: int = 8
    """Maximum passes over a rollout; ppo.target_kl may end an update earlier."""
    minibatches: int = 4
    """Gradient steps per epoch; each uses its share of the spans."""
    learning_rate: float = 1e-3
    """Initial step size of Adam (see ppo.lr_schedule)."""
    max_grad_norm: float = 0.5
    """Clip the joint gradient norm of this loop's groups to this."""


@dataclass(frozen=True)
class LRMultipliers:
    """Learning rates of the groups of parameters, as fractions of their loop's."""

    encoder: float = 1.0
    """Image and mission encoder."""
    modules: float = 1.0
    """Recurrent modules, or the whole LSTM."""
    attention: float = 1.0
    """Input attention and communication."""
    policy: float = 1.0
    """Policy head."""
    value: float = 1.0
    """Value head."""


@dataclass(frozen=True)
class Config:
    """One training run."""

    agent: str = "metarims"
    """Core and learning rule: metarims, modular, vanilla, metalstm, metaflip, slowlr, random, dense or threespeeds."""
    env: str = "BabyAI-GoToLocal-v0"
    """Environment id, a mixture ("ID*3+ID"), or another Gymnasium environment ("ID", "module:ID")."""
    frames: int = 1_000_000
    """Environment steps per seed, over all environments and both loops."""
    seeds: tuple[int, ...] = (0,)
    """Each seed trains an independent agent: in parallel on an accelerator, one by one on a CPU (see --devices)."""
    init_from: str = ""
    """Initial weights: a run's folder (agent of the same seed), a .safetensors file, or a pretrained agent."""
    network: Network = field(default_factory=Network)
    core: CoreSettings = None  # pyright: ignore[reportAssignmentType]
    """Settings of the agent's core; they depend on the agent."""
    ppo: PPO = field(default_factory=PPO)
    fast: Loop = field(default_factory=lambda: Loop(span=20, rollout=40))
    """The fast (inner) loop; agents with one loop use only this."""
    slow: Loop = field(default_factory=lambda: Loop(span=80, rollout=80))
    """The slow (outer) loop. A third timescale stretches it once more, by slow.span / fast.span."""
    lr_multipliers: LRMultipliers = field(default_factory=LRMultipliers)
    """Learning rates of single groups."""
    encoder_speed: Literal["fast", "slow", "both"] = "fast"
    """Loop that trains the encoder (the paper does not say which)."""
    slow_data: Literal["fresh", "reuse"] = "reuse"
    """reuse: the slow loop learns from the fast loop's steps. fresh: from new steps of its own (Algorithm 1)."""
    recurrent_state: Literal["reset", "carry"] = "reset"
    """At an episode's end, reset the recurrent state, or carry it to the next episode."""
    words: tuple[str, ...] = ()
    """Host environments: mission words beyond those of Farama's environments."""
    max_words: int = 0
    """Host environments: words of the longest mission (0: estimated from some missions)."""
    max_missions: int = 0
    """Host environments: distinct missions within one update (0: estimated from episodes of 16 steps)."""
    record_every: int = 20_000
    """Environment steps per seed between two lines of metrics (a chunk), rounded up to whole updates."""
    checkpoint_every: int = 5
    """Chunks between checkpoints; a killed run loses at most this many."""
    on_nan: Literal["stop", "restart"] = "stop"
    """If a seed's loss is NaN or its gradient norm exceeds 1e6: stop it, or restart it from its last good state.
    A restart draws other actions, at most 3 times. The other seeds continue either way."""

    def __post_init__(self):
        object.__setattr__(self, "core", _coerce_core(self.core, _core_type(self.agent), self.agent))
        hints = get_type_hints(Config) | {"core": type(self.core)}
        for name, hint in hints.items():
            object.__setattr__(self, name, coerce(hint, getattr(self, name), name))
        check(self)

    @classmethod
    def narrow_types(cls, values: Mapping[str, Any]) -> dict[str, type]:
        """Types of fields that depend on the values of others: that of ``core`` on the agent."""
        return {"core": _core_type(values.get("agent", cls.agent))}


def _core_type(agent: Any) -> type[CoreSettings]:
    """The settings dataclass of an agent's core."""
    if coerce(str, agent, "agent") not in RULES:
        raise unknown_name("agent", agent, RULES)
    if RULES[agent].core not in CORES:
        raise unknown_name("core", RULES[agent].core, CORES)
    return CORES[RULES[agent].core]


def _coerce_core(core: Any, kind: type[CoreSettings], agent: str) -> CoreSettings:
    """The settings of a core of this kind. Another core's defaults, as ``dataclasses.replace(config, agent=...)``
    passes them on, become this one's; other settings of another core are a ``UserError``."""
    if core is None or (isinstance(core, CoreSettings) and type(core) is not kind and core == type(core)()):
        return kind()
    if type(core) is not kind:
        raise invalid("core", core, f"the core of {agent} has {kind.__name__}; give these, or use for_agent")
    return core


def core_settings(config: Config) -> CoreSettings:
    """The settings of the agent's core: as configured, but for those that the agent's rule fixes."""
    return dataclasses.replace(config.core, **RULES[config.agent].core_settings)


def for_agent(config: Config, agent: str) -> Config:
    """The configuration with another agent; settings of a core that this one does not have are left out."""
    kind = _core_type(agent)
    core = config.core if type(config.core) is kind else kind()
    return dataclasses.replace(config, agent=agent, core=core)


def unused_settings(config: Config) -> tuple[str, ...]:
    """The settings, by dotted name, that change nothing for this agent (``slow``: all of that section)."""
    rule, core = RULES[config.agent], core_settings(config)
    unused = [f"core.{name}" for name in (*rule.core_settings, *core.unused())]
    if len(rule.timescales) == 1:
        unused += ["slow", "slow_data"]
    if rule.places_encoder:
        unused.append("encoder_speed")
    if config.ppo.lr_schedule == "constant":
        unused.append("ppo.lr_decay_steps")
    if config.network.input == "set":
        of_vectors = ("fusion", "film_layers", "feature_dim", "feature_rms_limit", "mission_init_scale")
        unused += [f"network.{name}" for name in of_vectors]
    elif config.network.fusion == "concat" or not config.network.mission_dim:
        unused.append("network.film_layers")
    unused += [f"core.{name}" for name in core.unused_with(config.network.input)]
    unused += [f"lr_multipliers.{group}" for group in ("modules", "attention") if group not in core.groups]
    return tuple(unused)


def check(config: Config) -> None:
    """Raise ``UserError`` for the first setting that cannot work, naming field, value and remedy."""
    if not config.seeds:
        raise invalid("seeds", config.seeds, "name at least one seed, for example --seeds 0")
    if len(set(config.seeds)) != len(config.seeds) or min(config.seeds) < 0 or max(config.seeds) >= 2**31:
        raise invalid("seeds", config.seeds, "they must be distinct integers from 0 to 2147483647")
    net, ppo = config.network, config.ppo
    require_positive("", config, ("frames", "record_every", "checkpoint_every"))
    require_positive("network", net, ("image_dim", "word_dim", "feature_dim", "film_layers"))
    require_positive("ppo", ppo, ("num_envs", "shards", "reward_scale", "adam_eps", "clip", "lr_decay_steps"))
    for name, loop in loops(config):
        require_positive(name, loop, [f.name for f in dataclasses.fields(Loop)])
    for name in ("gamma", "gae_lambda"):
        if not 0 <= getattr(ppo, name) <= 1:
            raise invalid(f"ppo.{name}", getattr(ppo, name), "it must lie between 0 and 1")
    require_not_negative("lr_multipliers", config.lr_multipliers, [f.name for f in dataclasses.fields(LRMultipliers)])
    require_not_negative("ppo", ppo, ("value_coef", "entropy_coef", "target_kl"))
    require_not_negative("", config, ("max_words", "max_missions"))
    require_not_negative("network", net, ("mission_dim", "head_dim", "mission_init_scale", "feature_rms_limit"))
    _check_words(config.words)
    config.core.check()
    if net.input == "set" and getattr(config.core, "value_dim", 1) == 0:
        raise invalid("core.value_dim", 0, "with network.input set elements are read by values; set it to 64")
    if net.input == "set" and not config.core.reads_sets:
        remedy = "reads vectors only; use --network.input vector"
        raise invalid("network.input", net.input, f"the core of {config.agent} {remedy}")
    if ppo.num_envs % ppo.shards:
        raise invalid("ppo.shards", ppo.shards, f"it must divide ppo.num_envs ({ppo.num_envs})")
    for name, loop in loops(config):
        if loop.rollout % loop.span:
            raise invalid(f"{name}.span", loop.span, f"it must divide {name}.rollout ({loop.rollout})")
        num_spans = ppo.num_envs // ppo.shards * loop.rollout // loop.span
        if num_spans % loop.minibatches:
            shards = f" / ppo.shards {ppo.shards}" if ppo.shards > 1 else ""
            product = f"ppo.num_envs {ppo.num_envs}{shards} x {name}.rollout {loop.rollout} / {name}.span {loop.span}"
            remedy = f"it must divide the {num_spans} spans of one update ({product})"
            raise invalid(f"{name}.minibatches", loop.minibatches, remedy)
    if len(loops(config)) > 1:
        for name in ("span", "rollout"):
            fast, slow = getattr(config.fast, name), getattr(config.slow, name)
            if slow % fast:
                remedy = f"it must divide slow.{name} ({slow}): the slow loop reads whole {name}s of the fast one"
                raise invalid(f"fast.{name}", fast, remedy)


def _check_words(words: tuple[str, ...]) -> None:
    for word, count in Counter(words).items():
        if count > 1:
            raise invalid("words", word, "it stands there twice; name each word once")
        if not word or word != word.lower() or any(mark in word for mark in ", \t\n"):
            raise invalid("words", word, "a word has small letters only, no comma and no space")


def loops(config: Config) -> tuple[tuple[str, Loop], ...]:
    """The loops that this agent's rule uses, by name, fastest first.

    The first two are settings; each further one has spans and rollouts as many times longer as the second's spans are
    than the first's.
    """
    names = [timescale.name for timescale in RULES[config.agent].timescales]
    found = [config.fast, config.slow]
    stretch = config.slow.span // max(1, config.fast.span)
    while len(found) < len(names):
        last = found[-1]
        found.append(dataclasses.replace(last, span=last.span * stretch, rollout=last.rollout * stretch))
    return tuple(zip(names, found, strict=False))
