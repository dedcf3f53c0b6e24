"""torch-ac's PPO with an LSTM agent of the sizes that rl-starter-files has by default.

The network is ours, written for torch-ac's ``RecurrentACModel``; algorithm and processes are torch-ac's own.
Runs in an environment with torch, torch-ac and minigrid (see ``benchmarks/README.md``):

    python torch_ac_lstm.py ENV_ID THREADS [SEED]
"""
# pyright: reportMissingImports=false

import platform
import sys
from importlib.metadata import version
from typing import Any

import gymnasium
import minigrid  # noqa: F401  (registers the environments)
import numpy as np
import torch
import torch_ac
from lane import Unit, open_reports, race
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torch_ac.utils import DictList

PROCESSES, STEPS, WORDS = 16, 128, 100


class LSTMAgent(nn.Module, torch_ac.RecurrentACModel):
    """Convolutions 16/32/64 (2x2) on the symbolic view, LSTM of 64, heads with 64 hidden units; optionally a GRU."""

    def __init__(self, num_actions: int, reads_text: bool):
        super().__init__()
        self.picture = nn.Sequential(
            nn.Conv2d(3, 16, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 2), nn.ReLU(), nn.Conv2d(32, 64, 2)
        )
        self.memory = nn.LSTMCell(64, 64)
        self.words = nn.Embedding(WORDS, 32) if reads_text else None
        self.sentence = nn.GRU(32, 128, batch_first=True) if reads_text else None
        width = 64 + 128 * reads_text
        self.actor = nn.Sequential(nn.Linear(width, 64), nn.Tanh(), nn.Linear(64, num_actions))
        self.critic = nn.Sequential(nn.Linear(width, 64), nn.Tanh(), nn.Linear(64, 1))

    @property
    def memory_size(self) -> int:
        return 128

    def forward(self, obs: Any, memory: torch.Tensor) -> Any:
        x = torch.relu(self.picture(obs.image.permute(0, 3, 1, 2))).flatten(1)
        hidden, cell = self.memory(x, (memory[:, :64], memory[:, 64:]))
        x = hidden
        if self.words is not None and self.sentence is not None:
            x = torch.cat([x, self.sentence(self.words(obs.text))[1][-1]], dim=1)
        logits = torch.log_softmax(self.actor(x), dim=1)
        dist = torch.distributions.Categorical(logits=logits)
        return dist, self.critic(x)[:, 0], torch.cat([hidden, cell], dim=1)


class Reader:
    """Observations of Farama's environments as tensors; words are numbered as they come."""

    def __init__(self, reads_text: bool):
        self.reads_text = reads_text
        self.numbers: dict[str, int] = {}

    def __call__(self, observations: list[dict[str, Any]], device: Any = None) -> DictList:
        image = torch.tensor(np.array([each["image"] for each in observations]), dtype=torch.float, device=device)
        if not self.reads_text:
            return DictList({"image": image})
        rows = [self._number(each["mission"]) for each in observations]
        text = np.zeros((len(rows), max(map(len, rows))), np.int64)
        for i, row in enumerate(rows):
            text[i, : len(row)] = row
        return DictList({"image": image, "text": torch.tensor(text, device=device)})

    def _number(self, mission: str) -> list[int]:
        return [self.numbers.setdefault(word, len(self.numbers) + 1) for word in mission.lower().split()]


def count_flops(agent: LSTMAgent, observations: DictList, memory: torch.Tensor) -> int:
    """Floating-point operations of the matrix products and convolutions of one forward pass."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        agent(observations, memory)
    return counter.get_total_flops()


class Counter:
    """torch-ac's environments, whose ended and successful episodes are counted."""

    def __init__(self, envs: Any):
        self.envs = envs
        self.episodes = self.successes = 0

    def step(self, actions: Any) -> Any:
        observations, rewards, terminated, truncated, infos = self.envs.step(actions)
        for reward, ended in zip(rewards, np.logical_or(terminated, truncated), strict=True):
            self.episodes += int(ended)
            self.successes += int(ended and reward > 0)
        return observations, rewards, terminated, truncated, infos


def main(env_id: str, threads: int, seed: int = 0) -> None:
    reports = open_reports()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    envs = [gymnasium.make(env_id) for _ in range(PROCESSES)]
    for i, env in enumerate(envs):
        env.reset(seed=seed + 10_000 * i)
    reads_text = env_id.startswith("BabyAI")
    reader = Reader(reads_text)
    actions = envs[0].action_space
    assert isinstance(actions, gymnasium.spaces.Discrete)
    agent = LSTMAgent(int(actions.n), reads_text)
    algorithm = torch_ac.PPOAlgo(
        envs,
        agent,
        None,
        STEPS,
        discount=0.99,
        lr=1e-3,
        gae_lambda=0.95,
        entropy_coef=0.01,
        value_loss_coef=0.5,
        max_grad_norm=0.5,
        recurrence=4,
        adam_eps=1e-8,
        clip_eps=0.2,
        epochs=4,
        batch_size=256,
        preprocess_obss=reader,
    )

    counter = algorithm.env = Counter(algorithm.env)

    def train() -> Unit:
        counter.episodes = counter.successes = 0
        experience, logs = algorithm.collect_experiences()
        algorithm.update_parameters(experience)
        return Unit(logs["num_frames"], (counter.episodes,), (counter.successes,))

    def describe() -> dict[str, Any]:
        parts = {name: sum(p.numel() for p in part.parameters()) for name, part in agent.named_children()}
        return {
            "parameters": parts,
            "flops_per_frame": count_flops(agent, reader([algorithm.obs[0]]), torch.zeros(1, agent.memory_size)),
            "flops_per_call": 0,
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("torch", "torch-ac", "minigrid", "gymnasium", "numpy")},
            },
        }

    race(train, describe, reports)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
