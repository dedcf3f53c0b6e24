"""What there is to play, as data for the command line: our levels, and Farama's others on the host."""

from typing import NamedTuple

from metarims.gridworld.registry import ids, make


class Entry(NamedTuple):
    """One id. What only a running environment knows is None for those on the host."""

    id: str
    native: bool
    """A level of ours; otherwise it is stepped on the host."""
    size: str
    max_steps: int | None
    num_actions: int | None
    num_missions: int | None
    num_words: int | None
    """Different words in the missions."""
    example: str


def native_entries() -> list[Entry]:
    """Our own levels, without importing Farama's."""
    return [_native(id) for id in ids()]


def entries() -> list[Entry]:
    """Every id: our own levels, then the other MiniGrid and BabyAI ids of Farama's registry."""
    import gymnasium
    import minigrid  # registers the environments  # noqa: F401

    known = set(ids())
    others = [id for id in gymnasium.registry if id.startswith(("BabyAI-", "MiniGrid-")) and id not in known]
    return native_entries() + [Entry(id, False, "", None, None, None, None, "") for id in sorted(others)]


def _native(id: str) -> Entry:
    level = make(id)
    words = {word for mission in level.missions for word in mission.split()}
    return Entry(
        id=id,
        native=True,
        size=f"{level.width}x{level.height}",
        max_steps=level.max_steps,
        num_actions=level.num_actions,
        num_missions=len(level.missions),
        num_words=len(words),
        example=level.missions[0],
    )
