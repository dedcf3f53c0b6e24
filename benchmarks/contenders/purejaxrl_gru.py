"""Recurrent PPO in the style of PureJaxRL on navix: everything compiled, one GRU, sequences as long as the rollout.

Network and loop are ours, written as PureJaxRL's recurrent PPO is; environment, flax and optax are its libraries.
Sizes are those of the other contenders: 16 environments x 128 steps, 8 minibatches, 4 epochs, widths of 64. Runs in
an environment with navix (see ``benchmarks/README.md``):

    python purejaxrl_gru.py ENV_ID
"""
# pyright: reportMissingImports=false, reportAssignmentType=false, reportArgumentType=false

import platform
import sys
from importlib.metadata import version
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import navix
import optax
from lane import Unit, open_reports, race

ENVS, STEPS, MINIBATCHES, EPOCHS, WIDTH = 16, 128, 8, 4, 64
GAMMA, LAMBDA, CLIP, ENTROPY, VALUE = 0.99, 0.95, 0.2, 0.01, 0.5
UPDATES_PER_CALL = 5
TASKS = {"MiniGrid-DoorKey-5x5-v0": "Navix-DoorKey-5x5-v0"}


class Agent(nn.Module):
    """Dense layer on the flattened symbols, GRU, and two heads with a hidden layer; inputs are [T, B, ...]."""

    num_actions: int

    @nn.compact
    def __call__(self, hidden: Any, image: Any, is_first: Any) -> Any:
        x = nn.relu(nn.Dense(WIDTH)(image.reshape(*image.shape[:2], -1).astype(jnp.float32) / 10))
        cell = nn.GRUCell(WIDTH, parent=None)
        scan = nn.scan(
            lambda cell, hidden, step: cell(jnp.where(step[1][:, None], 0.0, hidden), step[0]),
            variable_broadcast="params",
            split_rngs={"params": False},
        )
        hidden, x = scan(cell.clone(parent=self), hidden, (x, is_first))
        logits = nn.Dense(self.num_actions)(nn.tanh(nn.Dense(WIDTH)(x)))
        return hidden, logits, nn.Dense(1)(nn.tanh(nn.Dense(WIDTH)(x)))[..., 0]


class Step(NamedTuple):
    """What is kept of a step."""

    image: jax.Array
    is_first: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    reward: jax.Array
    done: jax.Array


def take(logits: jax.Array, action: jax.Array) -> jax.Array:
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], -1)[..., 0]


def compute_loss(params: Any, agent: Agent, hidden: Any, data: Any) -> jax.Array:
    steps, advantages, returns = data
    _, logits, value = agent.apply(params, hidden, steps.image, steps.is_first)
    ratio = jnp.exp(take(logits, steps.action) - steps.log_prob)
    policy = -jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantages).mean()
    clipped = steps.value + jnp.clip(value - steps.value, -CLIP, CLIP)
    error = jnp.maximum((value - returns) ** 2, (clipped - returns) ** 2).mean()
    log_probs = jax.nn.log_softmax(logits)
    return policy + VALUE * error + ENTROPY * (jnp.exp(log_probs) * log_probs).sum(-1).mean()


def make_update(env: Any, agent: Agent, optimizer: Any) -> Any:
    """One update: a rollout, then all epochs and minibatches."""

    def act(carry: Any, _: Any) -> Any:
        params, now, is_first, hidden, key = carry
        key, key_act = jax.random.split(key)
        hidden, logits, value = agent.apply(params, hidden, now.observation[None], is_first[None])
        action = jax.random.categorical(key_act, logits[0])
        after = jax.vmap(env.step)(now, action)
        kept = Step(now.observation, is_first, action, take(logits[0], action), value[0], after.reward, after.is_done())
        return (params, after, after.is_done(), hidden, key), kept

    def update(carry: Any, _: Any) -> Any:
        params, moments, now, is_first, first, key = carry
        (_, now, is_first, hidden, key), steps = jax.lax.scan(act, (params, now, is_first, first, key), length=STEPS)
        _, _, last = agent.apply(params, hidden, now.observation[None], is_first[None])

        def advantage(carry: Any, step: Step) -> Any:
            later, value = carry
            alive = 1 - step.done
            later = step.reward + GAMMA * value * alive - step.value + GAMMA * LAMBDA * alive * later
            return (later, step.value), later

        _, advantages = jax.lax.scan(advantage, (jnp.zeros(ENVS), last[0]), steps, reverse=True)
        data = steps, advantages, advantages + steps.value

        def learn(carry: Any, chosen: jax.Array) -> Any:
            params, moments = carry
            batch = jax.tree.map(lambda leaf: leaf[:, chosen], data)
            gradient = jax.grad(compute_loss)(params, agent, first[chosen], batch)
            changes, moments = optimizer.update(gradient, moments, params)
            return (optax.apply_updates(params, changes), moments), None

        key, *keys = jax.random.split(key, 1 + EPOCHS)
        order = jnp.concatenate([jax.random.permutation(k, ENVS).reshape(MINIBATCHES, -1) for k in keys])
        (params, moments), _ = jax.lax.scan(learn, (params, moments), order)
        return (params, moments, now, is_first, hidden, key), None

    return update


def main(env_id: str) -> None:
    reports = open_reports()
    env = navix.make(TASKS[env_id], observation_fn=navix.observations.symbolic_first_person)
    agent = Agent(len(env.action_set))
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3, eps=1e-8))
    key_env, key_init, key = jax.random.split(jax.random.key(0), 3)
    now, hidden = jax.vmap(env.reset)(jax.random.split(key_env, ENVS)), jnp.zeros((ENVS, WIDTH))
    is_first = jnp.ones(ENVS, bool)
    params = agent.init(key_init, hidden, now.observation[None], is_first[None])
    update = make_update(env, agent, optimizer)
    call = jax.jit(lambda carry: jax.lax.scan(update, carry, length=UPDATES_PER_CALL)[0])
    carry = params, optimizer.init(params), now, is_first, hidden, key

    def train() -> Unit:
        nonlocal carry
        carry = jax.block_until_ready(call(carry))
        return Unit(UPDATES_PER_CALL * ENVS * STEPS)

    def describe() -> dict[str, Any]:
        return {
            "parameters": {"all": sum(leaf.size for leaf in jax.tree.leaves(params))},
            "flops_per_frame": 2
            * (147 * WIDTH + 6 * WIDTH * WIDTH + 2 * WIDTH * WIDTH + (len(env.action_set) + 1) * WIDTH),
            "flops_per_call": 0,
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("navix", "jax", "flax", "optax")},
            },
        }

    race(train, describe, reports)


if __name__ == "__main__":
    main(sys.argv[1])
