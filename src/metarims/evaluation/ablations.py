"""What can be taken from a trained agent, or changed in how it plays, to measure what that contributes."""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp

from metarims.agents.rims import RIMCore
from metarims.errors import UserError, unknown_name

LEAST_TEMPERATURE = 1e-3
"""Below it the sampled policy is the greedy one, and logits could overflow."""

WORDS = {
    "messages": {"average": "messages averaged", "off": "without messages"},
    "input_attention": {"average": "input attention averaged"},
    "router": {"fixed": "fixed modules active", "random": "random modules active", "all": "all modules active"},
}
"""The ablations of modules in words, by field and value."""


class Ablation(NamedTuple):
    """What is taken from an agent, or changed in its modules or its policy, while it is evaluated."""

    temperature: float = 1.0
    """Divides the policy's logits: above 1 the sampled policy is more uniform, at infinity it is uniform."""
    no_memory: bool = False
    """Reset the recurrent state at every step."""
    no_mission: bool = False
    """Replace all mission tokens by padding."""
    messages: Literal["average", "off"] | None = None
    """``average``: each module attends to all modules alike. ``off``: modules get no messages."""
    input_attention: Literal["average"] | None = None
    """``average``: each module reads the input with the mean of all modules' attention weights at that step. The
    active modules are still those whose own attention is highest."""
    router: Literal["fixed", "random", "all"] | None = None
    """Active modules: always the first k, a random set of k at each step, or all."""

    def check(self, greedy: bool) -> None:
        """Raise ``UserError`` unless the values are known, and the temperature is valid for this policy."""
        for name, known in WORDS.items():
            if (value := getattr(self, name)) not in (None, *known):
                raise unknown_name(name, value, known)
        if not self.temperature >= LEAST_TEMPERATURE:
            raise UserError(
                f"temperature is {self.temperature:g}: it must be at least {LEAST_TEMPERATURE:g}. For the likeliest "
                "action at each step choose the greedy policy.",
                field="temperature",
                value=self.temperature,
            )
        if greedy and self.temperature != 1:
            raise UserError(
                f"temperature is {self.temperature:g}, but it does not change the greedy policy: leave it out, or "
                "choose the sampled policy.",
                field="temperature",
                value=self.temperature,
            )

    def describe(self, policy: str) -> list[str]:
        """The policy, with its temperature, and each ablation."""
        sampled = policy if self.temperature == 1 else f"{policy} at temperature {self.temperature:g}"
        without = ["without memory"] * self.no_memory + ["without mission"] * self.no_mission
        changed = [words[getattr(self, name)] for name, words in WORDS.items() if getattr(self, name)]
        return [sampled, *without, *changed]

    def apply(self, agent: Any) -> Any:
        """The agent with its modules changed; ``UserError`` where that changes nothing."""
        asked = {name: getattr(self, name) for name in WORDS if getattr(self, name)}
        if not asked:
            return agent
        core = getattr(agent, "core", None)
        if not isinstance(core, RIMCore):
            name, value = next(iter(asked.items()))
            kind = type(core).__name__
            raise UserError(
                f"{name} is {value}, but this agent's core ({kind}) has no modules: leave it out.",
                field=name,
                value=value,
            )
        if self.messages:
            core = _change_messages(core, self.messages)
        if self.input_attention:
            core = core.with_average_input()
        if self.router:
            core = core.with_router(self.router)
        return eqx.tree_at(lambda agent: agent.core, agent, core)

    @property
    def of_policy(self) -> "Ablation":
        """The part that does not concern modules."""
        return Ablation(self.temperature, self.no_memory, self.no_mission)


NO_ABLATION = Ablation()


def _change_messages(core: RIMCore, messages: str) -> RIMCore:
    if core.attention.communication is None:
        raise UserError(
            f"messages is {messages}, but this agent's modules do not communicate (core.communication_heads is 0): "
            "leave it out.",
            field="messages",
            value=messages,
        )
    if messages == "off":
        return eqx.tree_at(lambda core: core.attention.communication, core, None)
    # Queries of zero make all scores equal.
    return eqx.tree_at(lambda core: core.attention.communication.query, core, replace_fn=jnp.zeros_like)
