"""What evaluation records goes onto the page as it is."""

import jax
import pytest

from metarims.agents.agent import make_agent
from metarims.config import Network
from metarims.core_settings import LSTMSettings, RIMSettings
from metarims.evaluation.recording import record_episodes
from metarims.gridworld import VOCABULARY
from metarims.views.episode_page import write_episode_page

pytestmark = pytest.mark.process

SMALL = Network(image_dim=8, word_dim=8, mission_dim=8, feature_dim=16, head_dim=8)
CORES = {"rim": RIMSettings(module_dim=8), "lstm": LSTMSettings(8)}


@pytest.mark.parametrize(("core", "num_modules", "where"), [("rim", 5, "jax"), ("lstm", 0, "farama")])
def test_recorded_episodes_are_shown(browser, tmp_path, core, num_modules, where):
    agent = make_agent(SMALL, CORES[core], num_actions=7, num_words=len(VOCABULARY), key=jax.random.key(0))
    episodes = record_episodes(agent, "BabyAI-GoToObj-v0", 2, greedy=False, backend=where)
    browser.open(write_episode_page(tmp_path / "page.html", episodes), "#e=2&t=1")
    assert browser.text("mission") == f"“{episodes[1].mission}”"
    assert browser.text("clock") == f"step 1 of {len(episodes[1].actions)}"
    acting = browser.run("return [...document.querySelectorAll('.module')].map((m) => m.classList.contains('active'))")
    assert acting == (episodes[1].active[1].tolist() if len(episodes[1].actions) > 1 else [False] * num_modules)
    assert browser.console() == []
