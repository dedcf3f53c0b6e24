"""What a report says of each agent: what it is, what it cost and how it did."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """How an agent did over many episodes in one place."""

    where: str
    """``jax`` (our world) or ``farama`` (the real environment)."""
    policy: str
    """``greedy`` (the likeliest action) or ``sampled``."""
    episodes: int
    """Episodes played, over all seeds."""
    success: float
    """Success rate, 0 to 1."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end of its 95 % interval."""
    mean_return: float
    """Mean undiscounted return."""
    mean_length: float
    """Mean steps per episode."""


@dataclass(frozen=True)
class AgentResult:
    """One row of the report's table: what an agent is, what it cost and how it did."""

    agent: str
    """Name of the agent: metarims, modular, vanilla, ..."""
    parameters: int
    """Number of trained parameters."""
    seeds: tuple[int, ...]
    """The independent agents that were trained."""
    frames: int
    """Environment steps per seed, over both loops."""
    frames_per_second: float
    """Training speed, over all seeds together, without compilation."""
    measured: tuple[Measured, ...]
    """Evaluations, in any order; those absent leave a dash in the table."""
