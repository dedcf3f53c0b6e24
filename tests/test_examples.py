"""Each example, with settings that end in seconds."""

import re
import runpy
import sys
from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest
from examples import copying, custom_env, gymnasium_vector, model_card

from metarims.config import Config
from metarims.learning.timescales import make_learners
from metarims.rules import RULES

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_what_is_to_be_copied():
    shown, said = copying.draw_batch(jax.random.key(0), batch=3, blanks=4)
    symbols = np.asarray(shown[:10])
    assert symbols.min() >= 1
    assert symbols.max() <= 8
    np.testing.assert_array_equal(said[-10:], symbols)
    np.testing.assert_array_equal(shown[10:, 0], [0, 0, 0, copying.MARKER, *[0] * 10])
    assert (said[:-10] == 0).all()


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilation")
def test_copying_compares_equal_sizes_and_learns():
    settings = copying.Settings(
        steps=150,
        learning_rate=1e-2,
        batch=32,
        blanks=6,
        test_blanks=(6,),
        num_modules=3,
        num_active=2,
        module_dim=16,
        report_every=75,
    )
    rim, lstm = (copying.count_parameters(copier) for copier in copying.make_copiers(settings).values())
    assert abs(rim - lstm) < 0.05 * rim
    results = copying.main(settings)
    assert set(results) == {"RIM", "LSTM"}
    for by_blanks in results.values():
        loss, right = by_blanks[6]
        assert loss < 2.0, "guessing gives 2.08"
        assert right > 0.2


@pytest.mark.slow
def test_a_loop_in_the_style_of_cleanrl_learns_on_our_environments():
    settings = gymnasium_vector.Settings("metarims/MiniGrid-Empty-5x5-v0", num_envs=32, num_steps=32, num_updates=80)
    history = np.array(gymnasium_vector.train(settings))
    assert np.nanmean(history[-15:]) > np.nanmean(history[:15]) + 0.1


def test_a_model_card_says_what_one_must_know(run_copy, capsys):
    card = model_card.main(model_card.Settings(run_copy, licence="CC0-1.0", episodes=4, backend="jax")).read_text()
    assert card in capsys.readouterr().out + "\n"
    for fact in ("`metarims`, seed 0 1", "BabyAI-GoToRedBallNoDists-v0", "2,048 environment steps", "CC0-1.0"):
        assert fact in card
    assert re.search(r"\| success, .*, greedy \| \d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\] \|", card)
    assert "network.image_dim" in card, "not the default"
    assert "core.num_modules" not in card, "the default"
    assert (run_copy / re.search(r"view (\S+)`", card)[1]).exists()


@pytest.mark.slow
@pytest.mark.process
def test_the_tour(tmp_path):
    """All commands succeed in an empty folder, and leave what they promise; the page has the script as it is."""
    for package in ("flax", "pandas"):
        pytest.importorskip(package)
    tour = runpy.run_path(str(EXAMPLES.parent / "docs" / "write_tour.py"))
    done = tour["run"](tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
    for file in ("table.json", "entropy.svg", "both.html", "both.gif", "runs/report.html", "runs/ours/README.md"):
        assert (tmp_path / file).stat().st_size > 0
    assert (tmp_path / "runs/fig9/report.html").exists()
    shown = tour["PAGE"].read_text()
    position = 0
    for line in tour["SCRIPT"].read_text().splitlines():
        position = shown.index(line, position)


LEFT, RIGHT, FORWARD = 0, 1, 2


def walk(env, wrong_way=False):
    """Turn to the ball of the mission, or to the other one, and walk up to it."""
    world = env.unwrapped
    end = next(x for x in (1, world.width - 2) if world.grid.get(x, 1).color == world.goal)
    turn_right = (end > world.width // 2) == (world.agent_dir == 3)  # looking up, the right end is on the right
    env.step(RIGHT if turn_right != wrong_way else LEFT)
    for step in range(2, 20):
        observation, reward, terminated, truncated, _ = env.step(FORWARD)
        if terminated or truncated:
            return step, reward, observation["mission"]
    raise AssertionError("the corridor has no end")


@pytest.mark.parametrize("wrong_way", [False, True])
def test_the_corridor_pays_for_the_ball_of_its_mission(wrong_way):
    env = gymnasium.make("examples.custom_env:Corridor-v0")
    seen = set()
    for seed in range(8):
        env.reset(seed=seed)
        steps, reward, mission = walk(env, wrong_way)
        assert steps == 4, "a turn, and three steps up to the ball"
        assert reward == pytest.approx(0 if wrong_way else 1 - 0.9 * steps / 40)
        seen.add(mission)
    assert seen == {"walk to the red ball", "walk to the blue ball"}


@pytest.mark.slow
def test_training_on_the_corridor(tmp_path):
    results = custom_env.main(custom_env.Settings(tmp_path, frames=1024, preset="debug", episodes=4))
    assert {result.env for result in results} == {"Corridor-v0"}
    assert {result.policy for result in results} == {"greedy", "sampled"}


@pytest.fixture
def rule(monkeypatch):
    """Runs the example as a program; its rule is gone afterwards."""
    before = dict(RULES)

    def run(*arguments, name="__main__"):
        monkeypatch.setattr(sys, "argv", ["custom_rule.py", *arguments])
        return runpy.run_path(str(EXAMPLES / "custom_rule.py"), run_name=name)

    yield run
    RULES.clear()
    RULES.update(before)


def test_the_custom_rule_says_who_learns_when(rule):
    rule(name="example")
    fast, slow = make_learners(Config(agent="listeners"))
    assert fast.groups == ("encoder", "modules", "policy", "value")
    assert slow.groups == ("attention", "value")


def test_the_custom_rule_is_known_to_the_program(rule, capsys):
    with pytest.raises(SystemExit) as ended:
        rule("train", "--agent", "listener")
    assert ended.value.code == 2
    assert "listeners" in capsys.readouterr().err


@pytest.mark.slow
def test_training_by_the_custom_rule(rule, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        rule("train", "--agent", "listeners", "--preset", "debug", "--frames", "1024", "--out", str(tmp_path / "run"))
    assert not ended.value.code
    assert "slow/value_loss" in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "Finished" in capsys.readouterr().out
