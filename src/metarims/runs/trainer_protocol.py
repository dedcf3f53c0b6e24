"""What a run needs of a trainer."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class TrainerProtocol(Protocol):
    """Trains all seeds of a run, chunk by chunk (``learning.trainer.Trainer``)."""

    frames_per_chunk: int
    """Environment steps per seed."""
    updates_per_chunk: int
    """Rollouts of the fastest timescale, each with the updates after it."""
    terms: tuple[str, ...]
    """What is checked for faults: the names to which the metric ``fault/term`` points."""
    envs: Any
    """The environments (``gridworld.types.VectorEnv``): ``num_actions`` and ``vocabulary`` are read."""

    def init(self) -> Any: ...
    def load_weights(self, state: Any, agents: Sequence[Any]) -> Any:
        """The initial state with the weights of these agents, one per seed."""
        ...

    def compile(self, state: Any) -> None:
        """Compile the program that ``run_chunk`` runs on such a state."""
        ...

    def run_chunk(self, state: Any) -> tuple[Any, dict[str, Any]]:
        """The state after a chunk, and its metrics by name, one value per seed; the old state stays valid.

        ``fault/update``, ``fault/term`` and ``fault/value`` describe the first numerical fault
        (``learning.guard.record_fault``).
        """
        ...

    def reseed(self, state: Any, numbers: Sequence[int]) -> Any:
        """The state with new random keys, derived from its own and ``numbers`` (one per seed)."""
        ...

    def select_seeds(self, seeds: Sequence[bool], state: Any, other: Any) -> Any:
        """``state`` for the seeds that are marked, ``other`` for the rest."""
        ...

    def agent(self, state: Any, index: int) -> Any: ...
    def to_checkpoint(self, state: Any) -> Any:
        """The part of a state that a checkpoint holds."""
        ...

    def resume(self, checkpoint: Any) -> tuple[Any, str]:
        """The state to resume from, and a note where it differs from the saved one."""
        ...
