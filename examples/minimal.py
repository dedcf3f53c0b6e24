"""Meta-RIMs from top to bottom in one file: the world, the RIM agent, the two loops and PPO.

    python examples/minimal.py

trains one agent on BabyAI-GoToLocalS5N2-v0 (two objects; the mission names the one to go to). On two cores that takes
two and a half minutes; success in training is 0.99 or more from step 23,000 on (seed 0, commit 37c4829).

Here only the world (``VecEnv``), the encoder, the two heads and the initial parameters come from the package. Its
trainer computes the same (tests/test_minimal.py compares the parameters), and adds more seeds and devices, checkpoints,
metrics and the other agents.

Axes: T time, B environments, M modules, H module state, L steps of a span, P spans.
"""

import math
import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from metarims.agents.agent import group_mask, make_agent
from metarims.config import Network
from metarims.core_settings import RIMSettings
from metarims.gridworld import VOCABULARY, VecEnv, make

ENV = "BabyAI-GoToLocalS5N2-v0"
NUM_ENVS, NUM_ITERATIONS = 8, 128
GAMMA, LAMBDA, CLIP, VALUE_COEF, ENTROPY_COEF = 0.99, 0.95, 0.2, 0.5, 0.004
TARGET_KL = 0.02  # An update makes no further epoch once the policy has moved this far.
LR_DECAY_STEPS = 300_000
RIM = RIMSettings()  # 5 modules, 3 of them active (paper, section 4).


class Loop(NamedTuple):
    """One timescale: the parameter groups that it trains, and the data that it trains them on."""

    groups: tuple[str, ...]
    span: int  # Steps through which gradients flow.
    rollout: int  # Steps of each environment that one update learns from.
    epochs: int = 8
    minibatches: int = 4
    learning_rate: float = 1e-3

    @property
    def optimizer(self):
        return optax.chain(
            optax.clip_by_global_norm(0.5),
            optax.scale_by_adam(eps=1e-5),
            optax.scale_by_learning_rate(self.learning_rate),
        )


# The method in two lines (paper, section 2.2): what is learned fast, and what slowly, on spans four times as long.
FAST = Loop(("encoder", "modules", "policy"), span=20, rollout=40)
SLOW = Loop(("attention", "value"), span=80, rollout=80)


class Rollout(NamedTuple):
    """Experience of all environments, time first."""

    observation: NamedTuple
    is_first: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    truncation_value: jax.Array  # Value of the observation at which a time limit ended the episode.
    state: tuple  # Recurrent state before each step.


class Actor(NamedTuple):
    """Where acting stands between two steps."""

    env: NamedTuple
    observation: NamedTuple
    is_first: jax.Array
    state: tuple


# ---------------------------------------------------------------------------------------------- the RIM core


def rim_step(core, features, state):
    """One step of recurrent independent mechanisms (paper, section 2.1): read, select, update, communicate.

    ``features`` [B, D]; ``state`` is hidden and cell state [B, M, H]. Returns the new state.
    """
    hidden, cell = state
    read, talk, modules = core.attention.input, core.attention.communication, core.modules
    # Read: each module's query meets one key of the input and a null slot, whose key and value are zero. The softmax
    # over these two is a sigmoid.
    query = jnp.einsum("bmh,mhk->bmk", hidden, read.query) + read.query_bias
    score = jnp.einsum("bmk,bk->bm", query, features @ read.key) / math.sqrt(RIM.key_dim)
    inputs = jax.nn.sigmoid(score)[..., None] * (features @ read.value)[:, None]
    # Select: the modules that attend most to the input are active. No gradient flows through the choice.
    rank = jnp.argsort(jnp.argsort(-jax.lax.stop_gradient(score), axis=-1), axis=-1)
    active = (rank < RIM.num_active)[..., None]
    # Update: every module has LSTM weights of its own. What others read of inactive modules carries no gradient.
    gates = jnp.einsum("bmv,mvg->bmg", inputs, modules.from_input[:, 0])
    gates += jnp.einsum("bmh,mhg->bmg", hidden, modules.from_hidden) + modules.bias
    enter, forget, candidate, output = jnp.split(gates, 4, axis=-1)
    new_cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
    new_hidden = jax.nn.sigmoid(output) * jnp.tanh(new_cell)
    new_hidden = jnp.where(active, new_hidden, jax.lax.stop_gradient(new_hidden))
    # Communicate: every module attends to all modules; only active ones take up the answer.
    query, key, value = (
        jnp.einsum("bmh,mhc->bmc", new_hidden, weights).reshape(*hidden.shape[:2], RIM.communication_heads, -1)
        for weights in (talk.query, talk.key, talk.value)
    )
    # Their scores are cosines over a learnt temperature.
    query, key = (x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-6) for x in (query, key))
    score = jnp.einsum("bmhd,bnhd->bhmn", query / jnp.exp(talk.log_temperature)[:, None], key)
    answer = jnp.einsum("bhmn,bnhd->bmhd", jax.nn.softmax(score), value).reshape(*hidden.shape[:2], -1)
    new_hidden += jnp.einsum("bmc,mch->bmh", answer, talk.output)
    # Inactive modules keep their state.
    return jnp.where(active, new_hidden, hidden), jnp.where(active, new_cell, cell)


def reset_state(state, is_first):
    """Zeros where an episode begins."""
    return jax.tree.map(lambda leaf: jnp.where(is_first[:, None, None], 0, leaf), state)


def heads(agent, state):
    """Logits of the policy [..., A] and value [...] from the hidden states of all modules."""
    output = state[0].reshape(*state[0].shape[:-2], -1)
    return agent.policy(output), agent.value(output)[..., 0]


def log_prob(logits, action):
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], axis=-1)[..., 0]


# ---------------------------------------------------------------------------------------------- acting


@eqx.filter_jit
def collect(agent, envs, actor, key, num_steps):
    """Act for ``num_steps``; returns the actor, the rollout and the value of the observation after it [B]."""
    tables = agent.tables(envs.mission_tokens())  # Features of every tile and every mission.

    def value_of(observation, state):
        return heads(agent, rim_step(agent.core, agent.encode(tables, observation), state))[1]

    def step(carry, _):
        actor, key = carry
        key, key_action = jax.random.split(key)
        before = reset_state(actor.state, actor.is_first)
        state = rim_step(agent.core, agent.encode(tables, actor.observation), before)
        logits, value = heads(agent, state)
        action = jax.random.categorical(key_action, logits)
        env, result = envs.step(actor.env, action)  # Environments whose episode ends begin a new level at once.
        truncation_value = jax.lax.cond(
            result.truncated.any(), lambda: value_of(result.final_observation, state), lambda: jnp.zeros_like(value)
        )
        transition = Rollout(
            observation=actor.observation,
            is_first=actor.is_first,
            action=action,
            log_prob=log_prob(logits, action),
            value=value,
            reward=result.reward,
            terminated=result.terminated,
            truncated=result.truncated,
            truncation_value=truncation_value,
            state=actor.state,
        )
        return (Actor(env, result.observation, result.terminated | result.truncated, state), key), transition

    (actor, _), rollout = jax.lax.scan(step, (actor, key), length=num_steps)
    return actor, rollout, value_of(actor.observation, reset_state(actor.state, actor.is_first))


def compute_advantages(rollout, bootstrap_value):
    """Generalized advantages [T, B] (Schulman et al., 2016): a time limit is bootstrapped, a terminal state is not."""
    next_value = jnp.concatenate([rollout.value[1:], bootstrap_value[None]])
    next_value = jnp.where(rollout.truncated, rollout.truncation_value, next_value)
    next_value = jnp.where(rollout.terminated, 0, next_value)
    delta = rollout.reward + GAMMA * next_value - rollout.value
    ended = rollout.terminated | rollout.truncated

    def step(advantage, inputs):
        delta, ended = inputs
        advantage = delta + GAMMA * LAMBDA * jnp.where(ended, 0, advantage)
        return advantage, advantage

    return jax.lax.scan(step, jnp.zeros_like(bootstrap_value), (delta, ended), reverse=True)[1]


# ---------------------------------------------------------------------------------------------- learning


def cut_spans(tree, span):
    """Leaves [T, B, ...] as spans [L, P, ...], each contiguous in time."""

    def cut(leaf):
        spans = leaf.reshape(-1, span, *leaf.shape[1:]).swapaxes(0, 1)
        return spans.reshape(span, -1, *leaf.shape[2:])

    return jax.tree.map(cut, tree)


def loss(trained, frozen, mission_tokens, batch):
    """PPO's loss on a minibatch of spans (paper, equation 1), and how far the policy has moved."""
    agent = eqx.combine(trained, frozen)
    rollout, advantage, returns = batch
    features = agent.encode(agent.tables(mission_tokens), rollout.observation)

    def step(state, inputs):
        features, is_first = inputs
        state = rim_step(agent.core, features, reset_state(state, is_first))
        return state, state

    start = jax.tree.map(lambda leaf: leaf[0], rollout.state)
    logits, value = heads(agent, jax.lax.scan(step, start, (features, rollout.is_first))[1])
    log_ratio = log_prob(logits, rollout.action) - rollout.log_prob
    ratio = jnp.exp(log_ratio)
    policy_loss = -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage).mean()
    value_loss = ((value - returns) ** 2).mean()
    entropy = -(jax.nn.softmax(logits) * jax.nn.log_softmax(logits)).sum(-1).mean()
    approx_kl = (ratio - 1 - log_ratio).mean()
    return policy_loss + VALUE_COEF * value_loss - ENTROPY_COEF * entropy, approx_kl


@eqx.filter_jit
def train_epoch(agent, optimizer_state, loop, mission_tokens, spans, order, lr_scale):
    """One epoch over the spans: a gradient step of the loop's groups for each row of ``order``; the others stay."""
    trained, frozen = eqx.partition(agent, group_mask(agent, loop.groups))

    def step(carry, chosen):
        trained, optimizer_state = carry
        batch = jax.tree.map(lambda leaf: leaf[:, chosen], spans)
        (_, approx_kl), gradient = jax.value_and_grad(loss, has_aux=True)(trained, frozen, mission_tokens, batch)
        updates, optimizer_state = loop.optimizer.update(gradient, optimizer_state)
        trained = optax.apply_updates(trained, jax.tree.map(lambda update: update * lr_scale, updates))
        return (trained, optimizer_state), approx_kl

    (trained, optimizer_state), approx_kl = jax.lax.scan(step, (trained, optimizer_state), order)
    return eqx.combine(trained, frozen), optimizer_state, approx_kl.mean()


def update(agent, optimizer_state, loop, mission_tokens, rollout, bootstrap_value, key, lr_scale):
    """Learn from a rollout until the policy has moved far enough, at most ``loop.epochs`` times."""
    advantage = compute_advantages(rollout, bootstrap_value)
    spans = cut_spans((rollout, advantage, advantage + rollout.value), loop.span)
    num_spans = spans[1].shape[1]
    for key_epoch in jax.random.split(key, loop.epochs):
        order = jax.random.permutation(key_epoch, num_spans).reshape(loop.minibatches, -1)
        agent, optimizer_state, approx_kl = train_epoch(
            agent, optimizer_state, loop, mission_tokens, spans, order, lr_scale
        )
        if approx_kl > TARGET_KL:
            break
    return agent, optimizer_state


def train(env=ENV, num_iterations=NUM_ITERATIONS, seed=0, report=print):
    """Train one agent; an iteration is two rollouts, a fast update after each, and a slow update on both (80 steps)."""
    envs = VecEnv(make(env), NUM_ENVS)
    mission_tokens = envs.mission_tokens()
    key_agent, key_env, key = jax.random.split(jax.random.key(seed), 3)
    agent = make_agent(Network(), RIM, num_actions=envs.num_actions, num_words=len(VOCABULARY), key=key_agent)
    optimizers = [loop.optimizer.init(eqx.filter(agent, group_mask(agent, loop.groups))) for loop in (FAST, SLOW)]
    state, observation = envs.reset(key_env)
    hidden = jnp.zeros((NUM_ENVS, RIM.num_modules, RIM.module_dim))
    actor = Actor(state, observation, jnp.ones(NUM_ENVS, bool), (hidden, hidden))
    num_steps = 0
    for _ in range(num_iterations):
        rollouts = []
        for _ in range(SLOW.rollout // FAST.rollout):
            key, key_act = jax.random.split(key)
            actor, rollout, bootstrap_value = collect(agent, envs, actor, key_act, FAST.rollout)
            num_steps += FAST.rollout * NUM_ENVS
            lr_scale = jnp.float32(
                1 / math.sqrt(1 + num_steps / LR_DECAY_STEPS)
            )  # An array: a number would compile anew.
            key, key_learn = jax.random.split(key)
            agent, optimizers[0] = update(
                agent, optimizers[0], FAST, mission_tokens, rollout, bootstrap_value, key_learn, lr_scale
            )
            rollouts.append(rollout)
        history = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *rollouts)
        key, key_learn = jax.random.split(key)
        agent, optimizers[1] = update(
            agent, optimizers[1], SLOW, mission_tokens, history, bootstrap_value, key_learn, lr_scale
        )
        ended = history.terminated | history.truncated
        success = (history.terminated & (history.reward > 0)).sum() / ended.sum()
        report(f"step {num_steps:6,}  success {success:.2f}  episodes {ended.sum()}")
    return agent


if __name__ == "__main__":
    began = time.perf_counter()
    train()
    print(f"{time.perf_counter() - began:.0f} s")
