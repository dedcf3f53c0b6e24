"""Which ids the fast tests look at; the slow ones (``make parity``) look at all."""

from metarims.gridworld import ids

BASE = (
    "BabyAI-GoToObj-v0",
    "BabyAI-GoToLocal-v0",
    "BabyAI-GoToRedBall-v0",
    "BabyAI-GoToRedBallGrey-v0",
    "MiniGrid-DoorKey-5x5-v0",
    "MiniGrid-DoorKey-6x6-v0",
    "MiniGrid-DoorKey-8x8-v0",
    "MiniGrid-DoorKey-16x16-v0",
)
FAMILIES = (
    "BabyAI-GoToLocalS5N2-v0",
    "BabyAI-PickupDist-v0",
    "BabyAI-PickupLoc-v0",
    "BabyAI-PutNextLocalS5N3-v0",
    "MiniGrid-Dynamic-Obstacles-Random-6x6-v0",
    "MiniGrid-Empty-Random-6x6-v0",
    "MiniGrid-Fetch-6x6-N2-v0",
    "MiniGrid-FourRoomsS13-v0",
    "MiniGrid-LavaCrossingS9N2-v0",
    "MiniGrid-SimpleCrossingS9N1-v0",
    "MiniGrid-MemoryS13Random-v0",
    "MiniGrid-MultiRoom-N4-S5-v1",
    "MiniGrid-PutNear-6x6-N2-v0",
)
FEW = (*BASE, *FAMILIES)
ALL = ids()
