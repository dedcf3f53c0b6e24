"""Who learns in which loop: one gradient step of every timescale of every rule, and what it leaves alone."""

import dataclasses
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarims.agents.agent import select_group
from metarims.agents.lstm import LSTMState
from metarims.config import PPO, Config, Loop, LRMultipliers, Network, core_settings, loops, unused_settings
from metarims.core_settings import LSTMSettings, RIMSettings
from metarims.errors import UserError
from metarims.learning.diagnostics import summarize_activity
from metarims.learning.ppo import compute_loss, precompute
from metarims.learning.timescales import Learner, cut_spans, make_learners
from metarims.learning.trainer import make_trainer
from metarims.rules import GROUPS, RULES, Rule, Timescale

pytestmark = pytest.mark.usefixtures("quick_module")

STEPS, SPAN, ENVS, LIMIT = 24, 4, 4, 5
EVERYTHING = {"encoder", "modules", "attention", "policy", "value"}
PAPER = {
    "metarims": ("rim", [{"modules", "policy", "encoder"}, {"attention", "value"}]),
    "modular": ("rim", [EVERYTHING]),
    "vanilla": ("lstm", [EVERYTHING]),
    "metalstm": ("lstm", [{"modules", "policy", "encoder"}, {"value"}]),
    "metaflip": ("rim", [{"attention", "policy", "encoder"}, {"modules", "value"}]),
    "slowlr": ("rim", [EVERYTHING]),
}
"""Core and owners, written down again from section 2 of the paper; the encoder is fast by default."""
BEYOND = {
    "random": ("rim", [EVERYTHING]),
    "dense": ("rim", [EVERYTHING]),
    "threespeeds": ("rim", [{"modules", "policy", "encoder"}, {"attention"}, {"value"}]),
}
"""Null models, and a third timescale."""
CASES = [("metarims", 0), ("metarims", 1), ("slowlr", 0), ("metalstm", 1)]
"""Rules and timescales whose updates are compiled: which groups the others own, ``test_the_rules_are_the_papers``."""
NORM = 0.1


def settings(small, rule, **changes):
    fast = Loop(span=SPAN, rollout=STEPS, epochs=1, minibatches=1, learning_rate=1e-3, max_grad_norm=NORM)
    slow = Loop(span=STEPS, rollout=STEPS, epochs=1, minibatches=1, learning_rate=1e-3, max_grad_norm=NORM / 2)
    return small.config(rule, fast=fast, slow=slow, ppo=PPO(num_envs=ENVS), **changes)


@pytest.fixture(scope="module")
def played(small):
    envs = small.short_episodes(LIMIT, ENVS)
    return small.collect_twice(small.random_agent("rim"), envs, num_steps=STEPS, span=SPAN, carry=False)


@pytest.fixture(scope="module")
def experience(small, played):
    """An agent of each core, and a rollout whose rewards leave every group something to learn."""
    agents, rollout = {"rim": played.agent, "lstm": small.random_agent("lstm")}, played.rollouts[1]
    rollout = rollout._replace(reward=4 * jax.random.normal(jax.random.key(4), rollout.reward.shape))
    zeros = jnp.zeros((STEPS // SPAN, ENVS, small.cores["lstm"].hidden_dim))
    rollouts = {"rim": rollout, "lstm": rollout._replace(core=LSTMState(zeros, zeros))}
    return agents, rollouts, jnp.asarray(played.envs.level.mission_tokens)


@pytest.fixture(scope="module")
def learn(small, experience):
    """One update of one timescale; each is compiled once."""
    agents, rollouts, tokens = experience
    known = {}

    def run(rule, index):
        if (rule, index) not in known:
            core = PAPER[rule][0]
            learners = make_learners(settings(small, rule))
            learner = dataclasses.replace(learners[index], loop=learners[min(index, 1)].loop)
            update = jax.jit(
                lambda agent, rollout, key, rate: learner.update(agent, learner.init(agent), tokens, rollout, key, rate)
            )
            after, optimizer, (metrics, _) = update(agents[core], rollouts[core], jax.random.key(0), 1.0)
            known[rule, index] = SimpleNamespace(
                learner=learner,
                before=agents[core],
                after=after,
                half=update(agents[core], rollouts[core], jax.random.key(0), 0.5)[0],
                optimizer=optimizer,
                metrics=metrics,
            )
        return known[rule, index]

    return run


def test_the_record_tells_what_the_modules_did(small, played):
    record, core = summarize_activity(played.activities[1], STEPS * ENVS), small.cores["rim"]
    active = sum(record[f"modules/active_{m + 1}"] for m in range(core.num_modules))
    np.testing.assert_allclose(active, core.num_active, rtol=1e-5)
    assert 0 < float(record["modules/input_entropy"]) <= np.log(2)
    assert 0 <= float(record["modules/load_imbalance"]) <= 1
    assert np.isfinite(record["modules/mutual_information"])


def group_leaves(agent, group):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(select_group(agent, group))]


def test_the_rules_are_the_papers(small):
    assert set(small.rules) == set(PAPER | BEYOND)
    for rule, (core, scales) in (PAPER | BEYOND).items():
        assert small.rules[rule].core == core
        learners = make_learners(Config(agent=rule))
        assert [set(learner.groups) for learner in learners] == scales
        assert [learner.name for learner in learners] == ["fast", "slow", "slower"][: len(scales)]


@pytest.mark.parametrize(("rule", "index"), CASES)
def test_a_loop_moves_its_own_groups_and_no_others(learn, rule, index):
    step = learn(rule, index)
    for group in GROUPS:
        before, after = group_leaves(step.before, group), group_leaves(step.after, group)
        assert len(before) == len(after)
        for old, new in zip(before, after, strict=True):
            if group in PAPER[rule][1][index]:
                assert (old != new).any(), group
            else:
                assert old.tobytes() == new.tobytes(), group


@pytest.mark.parametrize(("rule", "index"), CASES)
def test_frozen_groups_have_neither_gradient_nor_optimiser_state(learn, rule, index):
    step = learn(rule, index)
    own = sum(len(group_leaves(step.before, group)) for group in PAPER[rule][1][index])
    trained, frozen = step.learner.split(step.before)
    assert len(jax.tree.leaves(trained)) == own
    assert len(jax.tree.leaves(frozen)) == len(jax.tree.leaves(step.before)) - own
    moments = [state for state in step.optimizer if isinstance(state, optax.ScaleByAdamState)]
    for moment in (moments[0].mu, moments[0].nu):
        assert jax.tree.structure(moment) == jax.tree.structure(trained)
    assert len(jax.tree.leaves(step.optimizer)) == 2 * own + 1


@pytest.mark.parametrize(("rule", "index"), [("metarims", 0), ("metarims", 1)])
def test_at_half_the_rate_parameters_move_half_as_far(learn, rule, index):
    step = learn(rule, index)
    for old, full, half in zip(*map(jax.tree.leaves, (step.before, step.after, step.half)), strict=True):
        np.testing.assert_allclose(half - old, (full - old) / 2, atol=1e-7)


@pytest.mark.parametrize(("rule", "index"), CASES)
def test_each_loop_clips_the_norm_of_its_own_gradient(learn, rule, index):
    """After one step Adam's first moment is a tenth of the clipped gradient; the loops' limits differ."""
    step, limit = learn(rule, index), NORM / (1 + min(index, 1))
    (moment,) = [state for state in step.optimizer if isinstance(state, optax.ScaleByAdamState)]
    assert float(step.metrics[f"{step.learner.name}/grad_norm"]) > limit
    norm = np.sqrt(sum((np.float64(leaf) ** 2).sum() for leaf in jax.tree.leaves(moment.mu)))
    assert norm == pytest.approx(limit / 10, rel=1e-4)


def test_the_rate_of_any_group_can_be_set(small):
    config = settings(small, "metarims", lr_multipliers=LRMultipliers(policy=0.5, attention=2.0))
    assert [learner.lr_multipliers for learner in make_learners(config)] == [(("policy", 0.5),), (("attention", 2.0),)]
    assert make_learners(settings(small, "modular"))[0].lr_multipliers == ()
    (learner,) = make_learners(dataclasses.replace(config, agent="slowlr"))
    assert dict(learner.lr_multipliers) == {"attention": 0.5, "policy": 0.5}


def test_the_rate_of_a_group_that_the_agent_lacks_changes_nothing(small):
    """Nor where it lacks something else, too: here the heads have no hidden layer."""
    bare = small.random_agent("lstm", network=dataclasses.replace(small.network, head_dim=0))
    (learner,) = make_learners(settings(small, "vanilla", lr_multipliers=LRMultipliers(attention=0.5)))
    assert "attention" not in bare.core.groups()
    assert bare.policy.hidden is None
    assert eqx.tree_equal(learner._scale_groups(bare, 1.0), bare)


def test_a_group_at_rate_zero_takes_no_part_in_the_step(small, experience):
    """The others move as if a learner without it had trained them: its gradient is in no norm and fills no moment."""
    agents, rollouts, tokens = experience
    agent = agents["lstm"]
    (held,) = make_learners(settings(small, "vanilla", lr_multipliers=LRMultipliers(value=0.0)))
    without = dataclasses.replace(held, groups=tuple(group for group in held.groups if group != "value"))
    ours, theirs = (
        jax.jit(learner.update)(agent, learner.init(agent), tokens, rollouts["lstm"], jax.random.key(0))
        for learner in (held, without)
    )
    assert eqx.tree_equal(ours[0].value, agent.value)
    assert eqx.tree_equal(ours[0], theirs[0], rtol=1e-6, atol=1e-9)
    assert not eqx.tree_equal(ours[0].policy, agent.policy)
    assert ours[2][0]["fast/grad_norm/value"] == 0
    np.testing.assert_allclose(ours[2][0]["fast/grad_norm"], theirs[2][0]["fast/grad_norm"], rtol=1e-6)


def test_a_third_timescale_stretches_the_second_as_it_stretches_the_first():
    spans = [(name, loop.span, loop.rollout) for name, loop in loops(Config(agent="threespeeds"))]
    assert spans == [("fast", 20, 40), ("slow", 80, 80), ("slower", 320, 320)]


def test_the_rule_decides_who_acts():
    for agent, router in (("random", "random"), ("dense", "all"), ("modular", "attention")):
        assert core_settings(Config(agent=agent)).router == router
    assert core_settings(Config(core=RIMSettings(router="random"))).router == "random"


@pytest.mark.parametrize(
    ("speed", "expected"), [("fast", [True, False]), ("slow", [False, True]), ("both", [True, True])]
)
@pytest.mark.parametrize("rule", ["metarims", "metaflip", "metalstm"])
def test_the_encoder_learns_in_the_loop_that_is_named(small, rule, speed, expected):
    learners = make_learners(settings(small, rule, encoder_speed=speed))
    assert ["encoder" in learner.groups for learner in learners] == expected
    others = [set(learner.groups) - {"encoder"} for learner in learners]
    assert others == [owned - {"encoder"} for owned in PAPER[rule][1]]


@pytest.mark.parametrize("rule", ["modular", "vanilla", "slowlr"])
def test_with_one_loop_the_encoder_learns_in_it_whatever_is_named(small, rule):
    (learner,) = make_learners(settings(small, rule, encoder_speed="slow"))
    assert set(learner.groups) == EVERYTHING


@pytest.mark.parametrize("index", [0, 1])
def test_the_first_step_is_on_policy(learn, index):
    """The weights that acted give the probabilities that were recorded: every ratio is one, whatever the span."""
    metrics = learn("metarims", index).metrics
    name = learn("metarims", index).learner.name
    assert abs(float(metrics[f"{name}/approx_kl"])) < 1e-6
    assert float(metrics[f"{name}/clip_fraction"]) == 0


@pytest.mark.parametrize(("rule", "index"), [("slowlr", 0), ("metalstm", 1)])
def test_a_step_is_that_of_adam_against_the_gradient_of_the_loss(learn, rule, index):
    """The first step of Adam is lr g / (|g| + eps), with g clipped; ``slowlr`` makes a quarter of it with attention."""
    step = learn(rule, index)
    (moment,) = [state for state in step.optimizer if isinstance(state, optax.ScaleByAdamState)]
    for group in PAPER[rule][1][index]:
        rate = 1e-3 * (0.25 if (rule, group) == ("slowlr", "attention") else 1.0)
        parts = (group_leaves(tree, group) for tree in (moment.mu, step.before, step.after))
        for mu, before, after in zip(*parts, strict=True):
            g = np.float64(mu) * 10
            np.testing.assert_allclose(after - before, -rate * g / (np.abs(g) + 1e-5), atol=1e-6)
            assert np.abs(after - before).max() > 1e-5
    assert eqx.tree_equal(step.learner.split(step.before)[1], step.learner.split(step.after)[1])


def test_the_value_head_alone_passes_to_the_end(small, experience):
    """It moves no policy, however far a faster loop has moved it."""
    agents, rollouts, tokens = experience
    config = dataclasses.replace(settings(small, "metalstm"), ppo=PPO(num_envs=ENVS, target_kl=1e-9))
    slow = make_learners(config)[1]
    slow = dataclasses.replace(slow, loop=dataclasses.replace(slow.loop, epochs=3))
    moved = jax.tree.map(lambda leaf: 1.5 * leaf, agents["lstm"])
    _, _, (metrics, _) = slow.update(moved, slow.init(moved), tokens, rollouts["lstm"], jax.random.key(0))
    assert metrics["slow/approx_kl"] > 1e-9
    assert metrics["slow/epochs"] == 3


def test_a_loop_whose_other_groups_stand_still_moves_no_policy_either(small):
    """As with fixed attentions; a loop of which nothing moves need not pass on."""

    def moves(rule, **rates):
        return [
            learner.changes_policy
            for learner in make_learners(settings(small, rule, lr_multipliers=LRMultipliers(**rates)))
        ]

    assert moves("metarims") == [True, True]
    assert moves("metarims", attention=0.0) == [True, False]
    assert moves("metarims", attention=0.0, value=0.0) == [True, True]
    assert moves("metalstm") == [True, False]


def test_groups_that_do_not_exist_are_refused(small, monkeypatch):
    with pytest.raises(UserError, match=r"Unknown group 'polcy'\. Did you mean policy"):
        Timescale("fast", ("modules", "polcy"))
    nothing = Rule("rim", (Timescale("fast", ("encoder", "modules", "policy", "attention")), Timescale("slow", ())))
    monkeypatch.setitem(RULES, "idle", nothing)
    with pytest.raises(UserError, match="The timescale slow of idle trains nothing"):
        make_learners(settings(small, "idle"))


@pytest.mark.parametrize(("target", "passes"), [(1e9, 3), (1e-9, 2)])
def test_epochs_end_when_the_policy_has_moved_far_enough(small, experience, target, passes):
    """The first pass of one minibatch has not moved yet when it measures, the second has; so many are the same as asked
    for by ``epochs``."""
    agents, rollouts, tokens = experience
    config = dataclasses.replace(settings(small, "modular"), ppo=PPO(num_envs=ENVS, target_kl=target))
    (learner,) = make_learners(config)

    def update(learner, epochs):
        learner = dataclasses.replace(learner, loop=dataclasses.replace(learner.loop, epochs=epochs))
        agent, key = agents["rim"], jax.random.key(0)
        return jax.jit(learner.update)(agent, learner.init(agent), tokens, rollouts["rim"], key)

    after, _, (metrics, _) = update(learner, 3)
    assert metrics["fast/epochs"] == passes
    all_of_them = dataclasses.replace(learner, ppo=dataclasses.replace(learner.ppo, target_kl=0.0))
    expected, _, (means, _) = update(all_of_them, passes)
    if passes == 3:
        assert eqx.tree_equal(after, expected)
    for name, value in means.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("core", "groups"), [("rim", ("attention", "value")), ("lstm", ("value",))])
def test_what_is_computed_once_for_all_passes_changes_neither_loss_nor_gradient(experience, core, groups):
    """Where the encoder, or the core as well, is frozen."""
    agents, rollouts, tokens = experience
    learner = Learner("slow", groups, Loop(span=STEPS, rollout=STEPS), PPO(num_envs=ENVS))
    own, frozen = learner.split(agents[core])
    plain = cut_spans(rollouts[core], STEPS, PPO())
    ready = jax.jit(lambda agent: precompute(agent, tokens, plain, groups))(agents[core])
    assert (ready.features is None, ready.core_outputs is None) == (
        (True, False) if groups == ("value",) else (False, True)
    )

    @jax.jit
    def differentiate(own, spans):
        return jax.value_and_grad(lambda own: compute_loss(eqx.combine(own, frozen), tokens, spans, PPO())[0])(own)

    (loss, gradient), (expected_loss, expected) = differentiate(own, ready), differentiate(own, plain)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    for found, wanted in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_unused_settings_change_no_training(small):
    def train(**changes):
        trainer = make_trainer(small.config("modular", record_every=256, **changes))
        return trainer.learners, trainer.schedule, trainer.frames_per_chunk

    unused = {"slow": Loop(span=8, rollout=8), "slow_data": "reuse", "encoder_speed": "slow"}
    assert set(unused) <= set(unused_settings(small.config("modular")))
    assert train(**unused) == train()
    assert set(unused).isdisjoint(unused_settings(small.config("metarims")))


def test_settings_that_the_core_does_not_use_are_known():
    of_sets = {"core.input_heads", "core.key_dim", "core.value_dim"}
    for agent, core, names in (
        ("vanilla", LSTMSettings(), {"lr_multipliers.attention"} | of_sets),
        ("random", RIMSettings(), {"core.router"}),
        ("dense", RIMSettings(), {"core.router", "core.num_active"}),
        ("modular", RIMSettings(router="all"), {"core.num_active"}),
        ("modular", RIMSettings(router="random"), set()),
        ("modular", RIMSettings(input_temperature=0.5), {"core.key_init_scale"}),
        ("modular", RIMSettings(communication_norm=False), {"core.communication_temperature"}),
    ):
        found = unused_settings(Config(agent, core=core))
        assert {name for name in found if name.startswith(("core.", "lr_multipliers."))} == names
    reader = unused_settings(Config("vanilla", network=Network(input="set")))
    assert of_sets.isdisjoint(reader)
    assert "network.film_layers" in reader
