"""Which ids the fast tests look at; ``make parity`` looks at all."""

from metarims.gridworld import ids

KINDS = (
    "BabyAI-GoToLocalS5N2-v0",  # go to an object
    "BabyAI-PickupLoc-v0",  # pick it up
    "BabyAI-PutNextLocalS5N3-v0",  # put it next to another
    "MiniGrid-DoorKey-6x6-v0",  # reach the goal, through a locked door
    "MiniGrid-LavaCrossingS9N2-v0",  # or past lava
    "MiniGrid-MultiRoom-N4-S5-v1",  # or where the outermost cells are no walls
    "MiniGrid-Dynamic-Obstacles-Random-6x6-v0",  # collisions, obstacles that move
    "MiniGrid-Fetch-6x6-N2-v0",
    "MiniGrid-PutNear-6x6-N2-v0",
    "MiniGrid-MemoryS13Random-v0",
    "MiniGrid-GoToDoor-6x6-v0",  # the action done, beside a place
    "MiniGrid-GoToObject-6x6-N2-v0",  # which outlives what stood there
    "MiniGrid-RedBlueDoors-6x6-v0",  # one door after the other
)
"""One of every kind of rule."""
ROOMS = (
    "BabyAI-GoTo-v0",  # rooms, doors, objects in all of them
    "BabyAI-GoToObjDoor-v0",  # the agent may face the door from the beginning
    "BabyAI-Unlock-v0",  # a locked room
    "BabyAI-KeyCorridorS3R2-v0",  # rooms without a wall between them
    "BabyAI-OpenDoorDebug-v0",  # open a door and no other, named by its place
    "BabyAI-PutNextS5N2Carrying-v0",  # objects that are carried from the beginning
    "BabyAI-KeyInBox-v0",  # a box that holds something
    "BabyAI-GoToSeqS5R2-v0",  # several actions, in order
    "BabyAI-MiniBossLevel-v0",  # of every kind, on things named by colour, kind and place
    "MiniGrid-ObstructedMaze-2Dlhb-v0",  # several, and balls in the way
)
"""The same of levels on a grid of rooms. They are not in ``reference.npz``."""
ALL = ids()
GENERATED = tuple(id for id in ALL if "WFC" not in id)
"""Ids whose levels both sides draw. Farama's mazes need pictures that its wheel lacks."""
