"""Farama's bot as an expert."""

import gymnasium
import numpy as np
import pytest
from minigrid.envs.babyai import GoToLocal
from minigrid.utils.baby_ai_bot import GoNextToSubgoal

from metarims.errors import UserError
from metarims.evaluation.expert import UNSOLVED, evaluate_expert

pytestmark = pytest.mark.usefixtures("quick_module")


@pytest.mark.parametrize("id", ["BabyAI-PutNextLocal-v0", "BabyAI-GoToSeqS5R2-v0"])
def test_the_expert_solves_a_task_alike_by_faramas_rules_and_by_ours(id: str) -> None:
    """Putting next to asks for a plan; an agent without one would not do it in so few steps."""
    (theirs,), (ours,) = (evaluate_expert(id, backend, 12) for backend in ("farama", "jax"))
    assert theirs.result.evaluation.success.all()
    assert not theirs.gave_up
    for name in ("success", "lengths"):
        np.testing.assert_array_equal(*(getattr(one.result.evaluation, name) for one in (theirs, ours)))
    np.testing.assert_allclose(theirs.result.evaluation.returns, ours.result.evaluation.returns, atol=1e-6)
    assert theirs.result.evaluation.lengths.mean() < 60


def test_what_the_expert_cannot_play_is_a_user_error() -> None:
    for id in ("MiniGrid-DoorKey-5x5-v0", UNSOLVED[0], "BabyAI-GoToLokal-v0"):
        with pytest.raises(UserError) as error:
            evaluate_expert(id, "farama", 2)
        assert error.value.field in ("env", "environment")


class Vague(GoToLocal):
    """Its instruction names nothing that there is."""

    def reset(self, **how):
        seen = super().reset(**how)
        self.instrs.desc.obj_set = []
        return seen


def test_an_episode_that_the_bot_gives_up_is_a_failure() -> None:
    gymnasium.register("Vague-v0", entry_point=Vague)
    (found,) = evaluate_expert("Vague-v0", "farama", 3)
    assert not found.result.evaluation.success.any()
    assert sum(found.gave_up.values()) == 3


def test_a_bot_that_plans_in_circles_gives_up(monkeypatch) -> None:
    monkeypatch.setattr(GoNextToSubgoal, "replan_before_action", lambda plan: plan.bot.stack.append(plan))
    (found,) = evaluate_expert("BabyAI-GoToObj-v0", "farama", 2)
    assert found.gave_up == {"RuntimeError: it plans in circles": 2}
