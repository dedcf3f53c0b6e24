"""Studies as data: every plan can be built at every scale, and every claim finds what it is about."""

import json
import re
import shlex

import numpy as np
import pytest

from metarims import cli
from metarims.config import Config
from metarims.errors import UserError
from metarims.learning.timescales import make_learners
from metarims.learning.trainer import make_schedule
from metarims.studies.catalogue import STUDIES, study
from metarims.studies.experiments import DOORKEY
from metarims.studies.plans import Score, change
from metarims.studies.results import Results, read_results
from metarims.studies.scales import SCALES, scale
from metarims.studies.scores import score_table, score_tables
from metarims.studies.study_folder import claim_study_folder

PAPERS = {"fig3", "table1", "fig5a", "fig5b", "fig6a", "fig6b", "fig7", "fig8", "fig9", "fig11"}


def test_every_figure_and_table_has_a_study() -> None:
    assert set(STUDIES) == PAPERS | {
        "forgetting",
        "adaptation",
        "transfer",
        "hallway",
        "ladder",
        "mechanisms",
        "hard",
        "compositions",
        "multitask",
        "continual",
        "demo",
    }


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("size", SCALES.values(), ids=SCALES)
def test_plans_can_be_built_and_have_folders_of_their_own(name, size) -> None:
    plans = STUDIES[name].plans(size)
    assert len({plan.name for plan in plans}) == len(plans) > 0
    for plan in plans:
        for index, stage in enumerate(plan.stages):
            config = plan.config(index, size)
            assert (config.env, len(config.seeds)) == (stage.env, size.seeds)


@pytest.mark.parametrize("name", STUDIES)
def test_claims_are_about_agents_that_are_trained(name) -> None:
    labels = {plan.label for plan in STUDIES[name].plans(SCALES["laptop"])}
    for hypothesis in STUDIES[name].hypotheses:
        assert set(hypothesis.tables) == {hypothesis.claim.agent, *hypothesis.claim.baselines}
        assert {label for label, _, _ in hypothesis.tables.values()} <= labels


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("size", SCALES.values(), ids=SCALES)
def test_agents_on_one_task_are_measured_at_the_same_steps(name, size) -> None:
    """Whatever the length of their updates: chunks are whole ones of each, so that none is rounded up."""
    ends: dict[str, set[tuple[int, int]]] = {}
    for plan in STUDIES[name].plans(size):
        for index, stage in enumerate(plan.stages):
            config = plan.config(index, size)
            learners = make_learners(config)
            schedule = make_schedule(learners, reuse=config.slow_data == "reuse")
            cycle = len(schedule) * learners[0].loop.rollout * config.ppo.num_envs
            assert config.record_every % cycle == config.frames % config.record_every == 0
            ends.setdefault(stage.env, set()).add((config.frames, config.record_every))
    assert all(len(found) == 1 for found in ends.values())


def test_measures_have_names_that_say_what_they_were_made_for() -> None:
    names = {
        name
        for found in STUDIES.values()
        for size in SCALES.values()
        for plan in found.plans(size)
        for name in plan.measured(size)["measures"]
    }
    assert {"learning", "retention", f"transfer to {', '.join(DOORKEY)}", f"ablations on {DOORKEY[2]}"} < names
    assert not {"measure", "<lambda>", "function"} & names


def test_studies_take_no_seeds_by_which_settings_were_chosen() -> None:
    for size in SCALES.values():
        (plan,) = STUDIES["fig9"].plans(size)
        assert min(plan.config(0, size).seeds) >= 1000


def test_the_published_settings_are_run_at_paper_scale() -> None:
    (config,) = {p.agent: p.config(0, SCALES["paper"]) for p in STUDIES["fig9"].plans(SCALES["paper"])}.values()
    assert (config.ppo.num_envs, config.fast.learning_rate, config.slow_data) == (64, 1e-4, "fresh")
    assert (config.core.num_modules, config.core.num_active) == (5, 3)


def test_settings_change_by_dotted_names() -> None:
    config = change(Config(), {"core.num_active": 2, "lr_multipliers.attention": 0.0, "seeds": (3, 4)})
    assert (config.core.num_active, config.lr_multipliers.attention, config.seeds) == (2, 0.0, (3, 4))
    with pytest.raises(UserError, match="no section cor"):
        change(Config(), {"cor.num_active": 2})
    with pytest.raises(UserError, match="num_activ"):
        change(Config(), {"core.num_activ": 2})


def test_a_score_table_holds_whole_seeds_only() -> None:
    rows = [
        ("a", Score(seed, "success", where, seed + bonus)) for seed in (0, 1) for where, bonus in (("x", 0), ("y", 10))
    ]
    rows += [
        ("a", Score(2, "success", "x", 5.0)),
        ("b", Score(0, "success", "x", 7.0)),
        ("a", Score(0, "return", "x", 9.0)),
    ]
    np.testing.assert_array_equal(score_table(rows, "a", "success", None), [[0, 10], [1, 11]])
    np.testing.assert_array_equal(score_table(rows, "a", "success", ("x",)), [[0], [1], [5]])
    assert score_table(rows, "c", "success", ("x",)).shape == (0, 1)


def test_tables_that_are_compared_hold_the_same_tasks_and_seeds() -> None:
    """One agent lacks the third task, the other the first and a seed: of nothing that one lacks is judged."""
    rows = [("a", Score(seed, "area", task, seed + 10 * n)) for seed in range(3) for n, task in enumerate("xy")]
    rows += [("b", Score(seed, "area", task, -seed - 10 * n)) for seed in (0, 2) for n, task in enumerate("zy")]
    tables = score_tables(rows, {"ours": ("a", "area", None), "theirs": ("b", "area", None)})
    np.testing.assert_array_equal(tables.scores["ours"], [[10], [12]])
    np.testing.assert_array_equal(tables.scores["theirs"], [[-10], [-12]])
    assert tables.left_out == "without x, z and without seed 1"
    explicit = score_tables(rows, {"ours": ("a", "area", ("x",)), "theirs": ("b", "area", ("z",))})
    np.testing.assert_array_equal(explicit.scores["ours"], [[0], [2]])
    np.testing.assert_array_equal(explicit.scores["theirs"], [[0], [-2]])
    nothing = score_tables(rows, {"ours": ("a", "area", None), "theirs": ("c", "area", None)})
    assert [table.size for table in nothing.scores.values()] == [0, 0]


def test_a_seed_of_which_nothing_was_measured_is_named_though_there_is_one_table() -> None:
    """It has other numbers, so that it was there; or it is known to have been trained."""
    rows = [("a", Score(seed, "success", "x", 1.0)) for seed in (0, 1)]
    rows += [("a", Score(seed, "area", "x", 1.0)) for seed in (0, 1, 2)]
    assert score_tables(rows, {"a": ("a", "success", None)}).left_out == "without seed 2"
    trained = {"a": {0, 1, 2, 3}, "b": {9}}
    assert score_tables(rows, {"a": ("a", "success", None)}, trained).left_out == "without seeds 2, 3"


def test_slow_spans_are_compared_at_equal_numbers_of_equal_updates() -> None:
    """Only the length differs through which gradients flow."""
    plans = [plan for plan in STUDIES["fig6a"].plans(SCALES["laptop"]) if plan.label.startswith("ratio")]
    slow = [plan.config(0, SCALES["laptop"]).slow for plan in plans]
    assert [loop.span for loop in slow] == [20, 40, 80, 160]
    assert len({(loop.rollout, loop.minibatches, loop.epochs) for loop in slow}) == 1


def transfer_results(metarims: float, others: float) -> Results:
    draw = np.random.default_rng(0)
    plans = [
        {
            "label": label,
            "rows": [[s, "success", DOORKEY[2], float(center + draw.normal(0, 0.02))] for s in range(10)],
            "configs": [{"seeds": list(range(10))}],
        }
        for label, center in (("metarims", metarims), ("modular", others), ("vanilla", others))
    ]
    return Results(study("table1"), "laptop", plans, [])


@pytest.mark.parametrize(
    ("metarims", "others", "outcome"),
    [(0.6, 0.2, "supported"), (0.2, 0.6, "not supported"), (0.4, 0.4, "undecided")],
)
def test_verdicts_follow_the_numbers(metarims, others, outcome) -> None:
    verdicts = {judged.statement: judged.verdict for judged in transfer_results(metarims, others).verdicts}
    better = verdicts["metarims transfers better than both to the more difficult room"]
    assert better is not None
    assert better.outcome == outcome
    level = verdicts["metarims succeeds in .47 of the more difficult room's episodes"]
    assert level is not None
    assert level.outcome == ("supported" if metarims > 0.5 else "not supported")
    assert verdicts["metarims, where it has learnt a larger room, loses at most a tenth of success on 5x5"] is None


def test_a_verdict_says_what_it_does_not_speak_of() -> None:
    results = transfer_results(0.6, 0.2)
    results.plans[1]["rows"].pop()
    judged = results.verdicts[0]
    assert judged.verdict is not None
    assert judged.text == f"{judged.verdict.statement} (without seed 9)"
    assert "equal seeds: 9 of 9" in judged.text


def test_unknown_names_and_foreign_folders_are_sentences(tmp_path) -> None:
    with pytest.raises(UserError, match=r"Unknown study 'fig33'\. Did you mean"):
        study("fig33")
    with pytest.raises(UserError, match="study's folder"):
        read_results(tmp_path)
    (tmp_path / "scores.json.gz").write_bytes(b"not gzip")
    with pytest.raises(UserError, match="cannot be read"):
        read_results(tmp_path / "scores.json.gz")
    claim_study_folder(tmp_path, study("fig9"), scale("smoke"))
    assert json.loads((tmp_path / "study.json").read_text())["study"] == "fig9"
    with pytest.raises(UserError, match="holds the study fig9 at scale smoke"):
        claim_study_folder(tmp_path, study("fig7"), scale("smoke"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Could not write the study in .*file: file exists\. Name another folder"):
        claim_study_folder(tmp_path / "file", study("fig7"), scale("smoke"))


@pytest.mark.parametrize(("name", "size"), [("fig5a", "laptop"), ("table1", "paper"), ("fig6a", "smoke")])
def test_a_studys_plans_are_listed_as_a_shell_takes_their_labels(name, size, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["study", "list", name, "--scale", size])
    plans, (head, *lines) = study(name).plans(scale(size)), capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert head == f"{name} at scale {size}: {len(plans)} plans, {scale(size).seeds} seeds each"
    for plan, line in zip(plans, lines, strict=False):
        assert shlex.split(line)[0] == plan.label
        frames = [f"{plan.config(index, scale(size)).frames:,}" for index in range(len(plan.stages))]
        assert re.findall(r"([\d,]+) steps of ([\w-]+)", line) == list(
            zip(frames, [s.env for s in plan.stages], strict=True)
        )
    assert lines[len(plans) :] == [
        "",
        f"Next: metarims study run {name} --scale {size} --only {lines[0].split('  ')[0]}",
    ]


def test_plans_are_listed_at_the_scale_at_which_studies_run(capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["study", "list", "fig9"])
    assert capsys.readouterr().out.startswith("fig9 at scale laptop: 1 plan, 10 seeds each\n")
