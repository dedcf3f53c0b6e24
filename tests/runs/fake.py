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
from metarims.learning.trainer import Trainer, select_by_seed

OPTIMISER = optax.adam(0.1)
SMALL = Config(agent="vanilla", frames=1200, seeds=(3, 5), record_every=100, checkpoint_every=3)


class Tiny(eqx.Module):
    weight: Float[Array, "*S 4"]

    def __init__(self, key):
        self.weight = jax.random.normal(key, (4,))


def build(config: Config, num_actions: int, num_words: int) -> Tiny:
    return Tiny(jax.random.key(0))


class FakeTrainer(Trainer):
    frames_per_chunk = 100
    updates_per_chunk = 2
    terms = ("fast/value_loss", "fast/grad_norm")
    envs = SimpleNamespace(num_actions=7, vocabulary=VOCABULARY)

    def __init__(self, config: Config, delay: float = 0.0, poison: dict[int, dict[int, int]] | None = None):
        """``poison``: by chunk and place of a seed, how many restarts the seed needs to get through that chunk."""
        self.config, self.delay, self.poison = config, delay, poison or {}

    def init(self):
        def one(seed):
            key_init, key_run = jax.random.split(jax.random.key(seed))
            tiny = Tiny(key_init)
            opt, empty = OPTIMISER.init(tiny), jnp.zeros((0, 3))
            return {"tiny": tiny, "opt": opt, "key": key_run, "none": empty, "count": 0, "restarts": 0}

        return jax.vmap(one)(jnp.asarray(self.config.seeds))

    def load_weights(self, state, agents):
        return state | {"tiny": jax.tree.map(lambda *leaves: jnp.stack(leaves), *agents)}

    def compile(self, state):
        _run_chunk.lower(state).compile()

    def run_chunk(self, state):
        time.sleep(self.delay)
        state, metrics = _run_chunk(state)
        for index, needed in self.poison.get(int(state["count"].max()), {}).items():
            if state["restarts"][index] < needed:
                metrics["fault/update"] = metrics["fault/update"].at[index].set(2)
                metrics["fault/value"] = metrics["fault/value"].at[index].set(jnp.nan)
                broken = state["tiny"].weight.at[index, 2].set(jnp.nan)
                state["tiny"] = eqx.tree_at(lambda t: t.weight, state["tiny"], broken)
        return state, metrics

    def reseed(self, state, numbers):
        numbers = jnp.asarray(numbers)
        return state | {"key": jax.vmap(jax.random.fold_in)(state["key"], 100 + numbers), "restarts": numbers}

    def select_seeds(self, seeds, state, other):
        return select_by_seed(jnp.asarray(seeds), state, other)

    def agent(self, state, index):
        return jax.tree.map(lambda leaf: leaf[index], state["tiny"])

    def to_checkpoint(self, state):
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
        metrics = {
            "episodes": 10,
            "return": noise[0],
            "success": jnp.where(noise[1] > 1, jnp.nan, 0.5),
            "fast/value_loss": loss,
        }
        metrics |= {"fault/update": 0, "fault/term": 0, "fault/value": 0.0}
        return state | {"tiny": tiny, "opt": opt, "key": key, "count": state["count"] + 1}, metrics

    return jax.vmap(one)(state)


if __name__ == "__main__":
    from metarims.runs.training import train

    print("ready", flush=True)
    delay = float(sys.argv[2])
    outcome = train(SMALL, sys.argv[1], make_trainer=lambda config: FakeTrainer(config, delay), progress=False)
    print(outcome, flush=True)
