"""A learner of four numbers, with everything that makes a training state hard to keep: typed keys, optimiser states,
random draws, empty arrays. Run as a program, it trains in the folder named by its first argument."""

import sys
import time
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from metarims.config import Config
from metarims.gridworld import VOCABULARY

OPTIMISER = optax.adam(0.1)
SMALL = Config(agent="vanilla", frames=1200, seeds=(3, 5), record_every=100, checkpoint_every=3)


class Tiny(eqx.Module):
    weight: Float[Array, "*S 4"]

    def __init__(self, key):
        self.weight = jax.random.normal(key, (4,))


def build(config: Config, num_actions: int, num_words: int) -> Tiny:
    return Tiny(jax.random.key(0))


class FakeTrainer:
    frames_per_chunk = 100
    cycles_per_chunk = 2
    level = SimpleNamespace(num_actions=7)
    words = VOCABULARY

    def __init__(self, config: Config, delay: float = 0.0, poison: dict[int, str] | None = None):
        self.config, self.delay, self.poison = config, delay, poison or {}

    def init(self):
        def one(seed):
            key_init, key_run = jax.random.split(jax.random.key(seed))
            tiny = Tiny(key_init)
            return {"tiny": tiny, "opt": OPTIMISER.init(tiny), "key": key_run, "none": jnp.zeros((0, 3)), "count": 0}

        return jax.vmap(one)(jnp.asarray(self.config.seeds))

    def run_chunk(self, state):
        time.sleep(self.delay)
        state, metrics = _run_chunk(state)
        poison = self.poison.get(int(state["count"][0]))
        if poison == "loss":
            metrics["fast/value_loss"] = metrics["fast/value_loss"].at[1].set(jnp.nan)
        if poison == "weights":
            state["tiny"] = eqx.tree_at(lambda t: t.weight, state["tiny"], state["tiny"].weight.at[0, 2].set(jnp.inf))
        return state, metrics

    def agent(self, state, index):
        return jax.tree.map(lambda leaf: leaf[index], state["tiny"])

    def keep(self, state):
        return state

    def resume(self, kept):
        return kept, ""


@jax.jit
def _run_chunk(state):
    def one(state):
        key, key_noise = jax.random.split(state["key"])
        tiny, noise = state["tiny"], jax.random.normal(key_noise, (4,))
        loss, gradient = jax.value_and_grad(lambda t: jnp.sum((t.weight - noise) ** 2))(tiny)
        updates, opt = OPTIMISER.update(gradient, state["opt"])
        tiny = optax.apply_updates(tiny, updates)
        metrics = {"return": noise[0], "success": jnp.where(noise[1] > 1, jnp.nan, 0.5), "fast/value_loss": loss}
        return state | {"tiny": tiny, "opt": opt, "key": key, "count": state["count"] + 1}, metrics

    return jax.vmap(one)(state)


if __name__ == "__main__":
    from metarims.runs.training import train

    print("ready", flush=True)
    delay = float(sys.argv[2])
    outcome = train(SMALL, sys.argv[1], make_trainer=lambda config: FakeTrainer(config, delay))
    print(outcome, flush=True)
