"""Settings of the recurrent cores, by the names that rules give the cores.

``agents.agent.register_core`` adds a core; its settings are then flags (``--core.NAME``) and part of ``config.json``.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from metarims.errors import invalid
from metarims.fields import require_not_negative, require_positive

RouterKind = Literal["attention", "random", "fixed", "all"]


@dataclass(frozen=True)
class CoreSettings:
    """What the settings dataclass of every core inherits; frozen, each field with a default."""

    groups: ClassVar[tuple[str, ...]] = ("modules",)
    """The parameter groups of the core: ``modules``, ``attention`` or both."""
    reads_sets: ClassVar[bool] = False
    """Whether the core can read the input as a set (``network.input``)."""

    def check(self) -> None:
        """Raise ``UserError`` for a setting that cannot work."""

    def unused(self) -> tuple[str, ...]:
        """Fields that change nothing, given the others."""
        return ()

    def unused_with(self, input: str) -> tuple[str, ...]:
        """Fields that change nothing where the input is a vector, or a set (``network.input``)."""
        del input
        return ()


@dataclass(frozen=True)
class RIMSettings(CoreSettings):
    """Recurrent independent mechanisms."""

    num_modules: int = 5
    """N, the number of modules (paper: 5)."""
    num_active: int = 3
    """k, how many modules are active at a step (paper: 3)."""
    module_dim: int = 32
    """State of one module."""
    cell: Literal["lstm", "gru"] = "lstm"
    """The modules' recurrent cell."""
    input_heads: int = 1
    """Heads of the input attention."""
    key_dim: int = 32
    """Width of the input attention's queries and keys, per head."""
    value_dim: int = 64
    """Width of the input attention's values, per head (0: each module reads the input itself)."""
    input_gate: Literal["null_slot", "modules", "none"] = "null_slot"
    """How strongly a module reads: by its attention to the input rather than to a null slot, by a softmax of the
    modules' scores, or fully (scores then only select the active modules)."""
    input_temperature: float = 0.0
    """Of a vector: scores are the cosine of query and key, divided by this; at 0.5 every module reads at least an
    eighth of the input. 0: scaled products; the null slot then takes most modules for good."""
    communication_heads: int = 4
    """Heads of the communication attention (0: no communication)."""
    communication_dim: int = 32
    """Width of the communication's queries, keys and values, over all heads."""
    communication_gate: bool = False
    """Pass messages through sigmoid-gate x tanh, as in the official RIMs code."""
    router: RouterKind = "attention"
    """Active modules: those that attend most to the input, a random set, always the same set, or all."""
    key_init_scale: float = 0.01
    """Initial scale of the input attention's keys (not with an input_temperature); with a small one all modules first
    attend about one half."""
    message_init_scale: float = 0.1
    """Initial scale of the messages."""
    communication_norm: bool = True
    """Scale the communication's queries and keys to length one, per head; without it attention stays nearly uniform."""
    communication_temperature: float = 0.5
    """Initial temperature, learnt per head, that divides the products of these queries and keys."""

    groups: ClassVar[tuple[str, ...]] = ("modules", "attention")
    reads_sets: ClassVar[bool] = True

    def check(self) -> None:
        sizes = ("num_modules", "num_active", "module_dim", "input_heads", "key_dim", "communication_dim")
        require_positive("core", self, (*sizes, "communication_temperature"))
        names = ("value_dim", "communication_heads", "key_init_scale", "message_init_scale", "input_temperature")
        require_not_negative("core", self, names)
        if self.num_active > self.num_modules:
            remedy = f"at most all {self.num_modules} modules (core.num_modules) can be active"
            raise invalid("core.num_active", self.num_active, remedy)
        if self.communication_heads and self.communication_dim % self.communication_heads:
            remedy = f"it must divide core.communication_dim ({self.communication_dim})"
            raise invalid("core.communication_heads", self.communication_heads, remedy)

    def unused(self) -> tuple[str, ...]:
        unused = ("num_active",) if self.router == "all" else ()
        if not self.communication_heads:
            unused += ("communication_dim", "communication_gate", "message_init_scale", "communication_norm")
        if not (self.communication_heads and self.communication_norm):
            unused += ("communication_temperature",)
        return unused

    def unused_with(self, input: str) -> tuple[str, ...]:
        if input == "set":
            return ("key_init_scale", "input_temperature")
        return ("key_init_scale",) if self.input_temperature else ()


@dataclass(frozen=True)
class LSTMSettings(CoreSettings):
    """One LSTM."""

    hidden_dim: int = 128
    """Width of the state."""
    input_heads: int = 5
    """Queries to the elements, where the input is a set."""
    key_dim: int = 32
    """Width of these queries and of the elements' keys."""
    value_dim: int = 32
    """Width of the elements' values."""

    reads_sets: ClassVar[bool] = True

    def check(self) -> None:
        require_positive("core", self, ("hidden_dim", "input_heads", "key_dim", "value_dim"))

    def unused_with(self, input: str) -> tuple[str, ...]:
        return () if input == "set" else ("input_heads", "key_dim", "value_dim")


CORES: dict[str, type[CoreSettings]] = {"rim": RIMSettings, "lstm": LSTMSettings}
"""The settings dataclass of every core, by the core's name."""
