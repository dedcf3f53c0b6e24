"""Episodes of real Farama environments, played by BabyAI's bot with an unsteady hand; its inside is made up."""

import base64
import functools
import io
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import gymnasium
import matplotlib.image
import minigrid  # noqa: F401  registers the environments
import numpy as np
import pytest
from minigrid.utils.baby_ai_bot import BabyAIBot

from metarims.evaluation.episodes import EpisodeRecord
from metarims.evaluation.tables import Summary
from metarims.views.agent_table import AgentSummary
from metarims.views.packing import pack_episode
from metarims.views.plots import learning_curves
from metarims.views.report import Report, ReportFigure

NUM_MODULES, NUM_ACTIVE, NUM_ACTIONS = 5, 3, 7


def tile_code(kind: int, color: int, state: int) -> int:
    """Farama's (type, colour, state) as a tile code."""
    plain = {0: 0, 1: 1, 2: 2, 8: 3, 9: 4}
    if kind in plain:
        return plain[kind]
    return 23 + 3 * color + state if kind == 4 else 5 + 6 * (kind - 5) + color


def encode(image: np.ndarray) -> np.ndarray:
    flat = [tile_code(*map(int, cell)) for cell in image.reshape(-1, 3)]
    return np.array(flat, np.uint8).reshape(image.shape[:2])


def snapshot(env) -> dict:
    view = encode(env.gen_obs()["image"])
    view[3, 6] = 41 if env.carrying is None else 41 + view[3, 6] - 4
    grid = encode(env.grid.encode())
    return {"grid": grid, "position": np.array(env.agent_pos), "direction": env.agent_dir, "view": view}


@functools.cache
def play(env_id: str, seed: int, num_modules: int = NUM_MODULES, mission: str | None = None) -> EpisodeRecord:
    """One episode; ``mission`` replaces the environment's own sentence."""
    env, rng = gymnasium.make(env_id).unwrapped, np.random.default_rng(seed)
    env.reset(seed=seed)
    bot = BabyAIBot(env) if env_id.startswith("BabyAI") else None
    states, actions, rewards, action, ends = [snapshot(env)], [], [], None, (False, False)
    while not any(ends):
        advice = bot.replan(action) if bot else rng.choice(6, p=[0.2, 0.2, 0.3, 0.1, 0.1, 0.1])
        action = int(advice) if rng.random() > 0.15 else int(rng.integers(3))
        _, reward, *ends, _ = env.step(action)
        states.append(snapshot(env))
        actions.append(action)
        rewards.append(float(reward))
    env.close()
    return EpisodeRecord(
        env=env_id,
        mission=env.mission if mission is None else mission,
        backend="farama",
        level_seed=seed,
        **{name: np.stack([state[name] for state in states]) for name in states[0]},
        actions=np.array(actions),
        rewards=np.array(rewards, np.float32),
        terminated=ends[0],
        truncated=ends[1],
        **_inside(rng, np.array(actions), rewards[-1], num_modules),
    )


def _inside(rng, actions: np.ndarray, outcome: float, num_modules: int) -> dict:
    """Values that rise towards the outcome, a policy that favours what was done, modules that change slowly."""
    num_steps = len(actions)
    policy = rng.dirichlet(np.ones(NUM_ACTIONS), num_steps) * 0.5
    policy[np.arange(num_steps), actions] += 0.5
    drift = np.cumsum(rng.normal(size=(num_steps, num_modules)), axis=0) * 0.8
    active = np.argsort(np.argsort(-drift, axis=1), axis=1) < NUM_ACTIVE
    talk = rng.dirichlet(np.full(max(num_modules, 1), 0.6), (num_steps, num_modules))[..., :num_modules]
    steps_left = num_steps - 1 - np.arange(num_steps)
    return {
        "values": (outcome * 0.95**steps_left + 0.03 * rng.normal(size=num_steps)).astype(np.float32),
        "policy": policy.astype(np.float32),
        "active": active,
        "input_attention": (1 / (1 + np.exp(-drift))).astype(np.float32),
        "communication": (talk * active[..., None]).astype(np.float32),
    }


@pytest.fixture(scope="session", name="play")
def fixture_play():
    """``play(env_id, seed, num_modules=5, mission=None)`` gives an ``EpisodeRecord``."""
    return play


@pytest.fixture(scope="session")
def episodes() -> list[EpisodeRecord]:
    """Solved, out of time, with doors and keys, with and without modules."""
    return [
        play("BabyAI-GoToLocal-v0", 3),
        play("BabyAI-GoToLocal-v0", 11),
        play("BabyAI-PickupLoc-v0", 5),
        play("MiniGrid-DoorKey-5x5-v0", 1),
        play("BabyAI-GoToRedBall-v0", 2, num_modules=0),
    ]


def summary(backend: str, policy: str, **other) -> Summary:
    """All seeds together."""
    return {
        "agent": "metarims",
        "seed": "all",
        "env": "BabyAI-GoToLocal-v0",
        "backend": backend,
        "policy": policy,
        "temperature": 1.0,
        "no_memory": False,
        "no_mission": False,
        "messages": None,
        "input_attention": None,
        "router": None,
        "episodes": 200,
        "success": 0.97,
        "success_low": 0.94,
        "success_high": 0.99,
        "mean_return": 0.8,
        "mean_length": 11.5,
        **other,
    }


@pytest.fixture(scope="session")
def report(episodes) -> Report:
    """One agent, evaluated in every way, two learning curves, all episodes."""
    evaluations = [summary(backend, policy) for backend in ("jax", "farama") for policy in ("greedy", "sampled")]
    rows = [
        {"agent": agent, "seed": seed, "env_steps": steps, "success": steps / 4000, "return": steps / 5000}
        for agent in ("metarims", "vanilla")
        for seed in (0, 1, 2)
        for steps in (1000, 2000, 4000)
    ]
    figures = [
        ReportFigure(measure, *(learning_curves(rows, measure, theme=theme) for theme in ("light", "dark")))
        for measure in ("success", "return")
    ]
    return Report(
        title="Three agents",
        summary=["What came out."],
        agents=[AgentSummary("metarims", 3, 1_000_000, evaluations, 123456, 31234.5)],
        figures=figures,
        episodes=[pack_episode(episode, f"episode {i}") for i, episode in enumerate(episodes)],
        details={"commit": "0123abc"},
        settings={"metarims": '{"frames": 1000000}'},
    )


class Browser:
    """A headless Chromium, driven over the WebDriver protocol (W3C) with the standard library."""

    def __init__(self, chromium: str, chromedriver: str, profile: Path):
        self.driver = subprocess.Popen([chromedriver, "--port=0"], stdout=subprocess.PIPE, text=True)
        assert self.driver.stdout is not None
        started = next(line for line in self.driver.stdout if "started successfully on port" in line)
        port = started.rsplit(" ", 1)[1].strip().rstrip(".")
        self.root = f"http://127.0.0.1:{port}"
        arguments = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
        quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
        options = {"binary": chromium, "args": [*arguments, *quiet, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.root += f"/session/{session['sessionId']}"
        self.resize(1280, 900)

    def close(self) -> None:
        self._call("DELETE", "")
        self.driver.terminate()
        self.driver.communicate(timeout=20)

    def open(self, page: Path, link: str = "") -> None:
        """Open a page afresh and wait until its viewer is ready."""
        self._call("POST", "/url", {"url": "about:blank"})
        self.console(), self.requests()
        self._call("POST", "/url", {"url": page.as_uri() + link})
        self.wait("document.getElementById('viewer').dataset.ready === 'true'")

    def reload(self) -> None:
        """As a person does; waits until the viewer is ready again."""
        self._call("POST", "/refresh", {})
        self.wait("document.getElementById('viewer').dataset.ready === 'true'")

    def run(self, script: str, *arguments):
        """What a script returns (``return ...``)."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, name: str) -> str:
        return self.run("return document.getElementById(arguments[0]).textContent", name)

    def picture(self, name: str) -> np.ndarray:
        """A canvas's content, RGB in rows and columns."""
        uri = self.run("return document.getElementById(arguments[0]).toDataURL('image/png')", name)
        image = matplotlib.image.imread(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])), format="png")
        return np.rint(image[..., :3] * 255).astype(np.uint8)

    def click(self, name: str) -> None:
        self._call("POST", f"/element/{self._find(name)}/click", {})

    def press(self, *keys: str) -> None:
        moves = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": moves}]})

    def drag(self, name: str, start: float, end: float) -> None:
        """Press on an element at a fraction of its width, move to another, let go."""
        at = self.run(
            "const b = document.getElementById(arguments[0]); b.scrollIntoView({block: 'center'});"
            "const r = b.getBoundingClientRect(); return [r.left, r.width, r.top + r.height / 2]",
            name,
        )
        move = [{"type": "pointerMove", "x": round(at[0] + at[1] * f), "y": round(at[2])} for f in (start, end)]
        actions = [move[0], {"type": "pointerDown", "button": 0}, move[1], {"type": "pointerUp", "button": 0}]
        self._call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def wait(self, condition: str, seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"still not after {seconds} s: {condition}"
            time.sleep(0.02)

    def resize(self, width: int, height: int) -> None:
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def devtools(self, command: str, **parameters):
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def console(self) -> list[str]:
        """Messages on the console since the last call, errors of the page among them."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Addresses asked for since the last call."""
        events = [
            json.loads(entry["message"])["message"] for entry in self._call("POST", "/se/log", {"type": "performance"})
        ]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def _find(self, name: str) -> str:
        return next(iter(self._call("POST", "/element", {"using": "css selector", "value": f"#{name}"}).values()))

    def _call(self, method: str, path: str, body: dict | None = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """The one thing here that a machine may lack: the pages' tests in a browser need Debian's chromium and
    chromium-driver, or the like."""
    chromium, chromedriver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("no Chromium with its chromedriver is installed on this machine")
    browser = Browser(chromium, chromedriver, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()
