"""What a run needs of a learner."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class TrainerProtocol(Protocol):
    """Trains all seeds of a run, chunk by chunk (``learning.trainer.Trainer``)."""

    frames_per_chunk: int
    """Environment steps per seed."""
    updates_per_chunk: int
    """Rollouts of the fastest timescale, each with what is learned after it."""
    terms: tuple[str, ...]
    """What can be at fault: the names to which a record's ``fault/term`` points."""
    envs: Any
    """The environments (``gridworld.types.VectorEnv``): ``num_actions`` and ``vocabulary`` are read."""

    def init(self) -> Any: ...
    def load_weights(self, state: Any, agents: Sequence[Any]) -> Any:
        """The first state, but with the weights of these agents, one per seed."""
        ...

    def compile(self, state: Any) -> None:
        """Have the program ready that ``run_chunk`` runs on such a state."""
        ...

    def run_chunk(self, state: Any) -> tuple[Any, dict[str, Any]]:
        """The state after a chunk, and its metrics by name, of every seed; the state that went in stays valid.

        ``fault/update``, ``fault/term`` and ``fault/value`` are the first numerical fault
        (``learning.guard.record_fault``).
        """
        ...

    def reseed(self, state: Any, numbers: Sequence[int]) -> Any:
        """The same state with other random numbers from here on; ``numbers``: one per seed, which say what others."""
        ...

    def select_seeds(self, seeds: Sequence[bool], state: Any, other: Any) -> Any:
        """``state`` for the seeds that are marked, ``other`` for the rest."""
        ...

    def agent(self, state: Any, index: int) -> Any: ...
    def to_checkpoint(self, state: Any) -> Any:
        """What of a state a checkpoint holds."""
        ...

    def resume(self, checkpoint: Any) -> tuple[Any, str]:
        """The state to resume from, and a note if it is not exactly the checkpoint's."""
        ...
