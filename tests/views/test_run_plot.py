"""Runs side by side: who is drawn in which panel, and under which name."""

import json
import shutil

import pytest

from metarims.config import Config
from metarims.errors import UserError
from metarims.runs.folder import describe
from metarims.views.plots import figure_bytes
from metarims.views.run_plot import left_out, plot_runs, read_runs

DOOR, BALL = "MiniGrid-DoorKey-5x5-v0", "BabyAI-GoToRedBall-v0"


@pytest.fixture
def make(tmp_path):
    """``make(folder, agent, env, seeds, **metrics)``: a run's folder with two chunks; metrics are its last values."""

    def make(folder, agent="metarims", env=DOOR, seeds=3, first=0, frames=1000, **metrics):
        path = tmp_path / folder
        path.mkdir(parents=True)
        config = Config(agent, env, frames, seeds=tuple(range(first, first + seeds)))
        (path / "config.json").write_bytes(describe(config))
        metrics = metrics or {"success": 1.0, "return": 0.9}
        with (path / "metrics.jsonl").open("w") as file:
            for chunk in (1, 2):
                for seed in config.seeds:
                    values = {name: value if value is None else value * chunk / 2 for name, value in metrics.items()}
                    row = {"seed": seed, "chunk": chunk, "env_steps": 100 * chunk} | values
                    file.write(json.dumps(row) + "\n")
        return path

    return make


def bold(axes):
    """Label and colour of every mean."""
    return {line.get_label(): line.get_color() for line in axes.lines if line.get_linewidth() > 2}


def titles(figure):
    return [(axes.get_title(loc="left"), axes.get_ylabel()) for axes in figure.axes if axes.get_visible()]


def test_a_task_has_a_panel_of_success_and_one_of_return(make):
    figure = plot_runs(read_runs([make("a"), make("b", "vanilla", seeds=2), make("c", env=BALL)]))
    assert titles(figure) == [(task, name) for task in (DOOR, BALL) for name in ("success rate", "mean return")]
    success, _, ball, _ = figure.axes
    assert list(bold(success)) == ["metarims (3 seeds)", "vanilla (2 seeds, no interval)"]
    assert len(success.lines) == 2 + 3 + 2, "every seed is a line"
    assert len(success.collections) == 1, "an interval from three seeds on"
    assert bold(ball)["metarims (3 seeds)"] == bold(success)["metarims (3 seeds)"], "one colour on all tasks"


def test_the_legend_hides_no_line(make):
    success, returns = plot_runs(read_runs([make("a")])).axes
    assert success.get_legend() is None
    figure = returns.get_figure()
    figure.draw_without_rendering()
    assert returns.get_legend().get_window_extent().x0 >= returns.get_window_extent().x1


def test_runs_of_one_agent_on_one_task_are_told_apart_by_their_folders(make):
    runs = read_runs([make("a"), make("b"), make("c", "vanilla")])
    assert [run.label for run in runs] == ["metarims, a", "metarims, b", "vanilla"]
    assert len(set(bold(plot_runs(runs).axes[0]).values())) == 3


def test_runs_of_the_same_settings_and_other_seeds_are_one_experiment(make):
    seeds = [make(f"seed-{seed}", seeds=1, first=seed, frames=1000 + seed) for seed in range(4)]
    assert list(bold(plot_runs(read_runs(seeds)).axes[0])) == ["metarims (4 seeds)"]
    again = make("again", seeds=1, first=2)
    labels = [run.label for run in read_runs([*seeds, again])]
    assert labels == ["metarims, seed-0 and 3 more"] * 4 + ["metarims, again"]


def test_folders_of_one_name_are_told_apart_by_their_paths(make):
    one, other = make("a/run"), make("b/run")
    assert [run.label for run in read_runs([one, other])] == [f"metarims, {one}", f"metarims, {other}"]


def test_a_run_named_twice_is_drawn_once(make):
    path = make("a")
    assert [run.label for run in read_runs([path, path / "../a"])] == ["metarims"]


def test_any_metric_can_be_drawn_of_the_runs_that_have_it(make):
    modules = {"modules/load_imbalance": 0.1, "success": 1.0}
    runs = read_runs([make("a", **modules), make("b", "vanilla", success=1.0), make("c", "vanilla", BALL, success=1.0)])
    figure = plot_runs(runs, "modules/load_imbalance")
    assert titles(figure) == [(DOOR, "modules/load_imbalance")]
    assert list(bold(figure.axes[0])) == ["metarims (3 seeds)"]
    assert [path.name for path in left_out(runs, "modules/load_imbalance")] == ["b", "c"]
    assert left_out(runs, "") == []


def test_a_measure_that_a_task_lacks_leaves_its_place_empty(make):
    figure = plot_runs(read_runs([make("a"), make("b", env=BALL, success=1.0)]))
    assert titles(figure) == [(DOOR, "success rate"), (DOOR, "mean return"), (BALL, "success rate")]
    assert figure.axes[2].get_legend() is not None


def test_an_unknown_metric_is_answered_by_the_nearest(make):
    runs = read_runs([make("a")])
    with pytest.raises(UserError, match=r"Unknown metric 'sucess'\. Did you mean success\?"):
        plot_runs(runs, "sucess")
    with pytest.raises(UserError, match=r"Unknown metric 'env_steps'\. Known: return, success"):
        plot_runs(runs, "env_steps")


def test_runs_in_which_no_episode_ended_are_named(make):
    without = make("a", **{"success": None, "return": None})
    with pytest.raises(UserError, match="No values of success or return yet"):
        plot_runs(read_runs([without]))
    runs = read_runs([without, make("b")])
    assert [path.name for path in left_out(runs, "")] == ["a"]
    assert len(bold(plot_runs(runs).axes[0])) == 1


def test_a_run_whose_last_line_is_cut_off_is_drawn(make):
    file = make("a") / "metrics.jsonl"
    file.write_text(file.read_text()[:-20])
    curve = next(line for line in plot_runs(read_runs([file.parent])).axes[0].lines if line.get_linewidth() > 2)
    assert list(curve.get_xdata()) == [100.0], "only as far as all seeds are"


@pytest.mark.parametrize("text", [None, "", '{"seed": 0, "env_st'])
def test_a_run_without_metrics_is_named(make, text):
    file = make("a") / "metrics.jsonl"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(UserError, match="a has no metrics yet: they come with the first chunk"):
        read_runs([file.parent])
    runs = read_runs([file.parent, make("b")])
    assert left_out(runs, "") == [file.parent], "others are drawn without it"
    (file.parent / "events.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"a/events.jsonl for what stopped it"):
        read_runs([file.parent])


def test_what_is_no_run_is_named(make, tmp_path):
    with pytest.raises(UserError, match=r"is not a run folder: it has no config\.json"):
        read_runs([tmp_path])
    run = make("a")
    with pytest.raises(UserError, match=rf"metrics.jsonl is not a run folder: .* Name the folder: {run}\."):
        read_runs([run / "metrics.jsonl"])
    with pytest.raises(UserError, match="No run: name at least one"):
        read_runs([])


def test_names_begin_no_formula_and_long_ones_are_broken(make, tmp_path):
    mixture = "+".join([DOOR, BALL, "BabyAI-GoToLocal-v0"])
    shutil.move(make("a", env=mixture), tmp_path / "$\\x$")
    figure = plot_runs(read_runs([tmp_path / "$\\x$", make("b", env=mixture)]))
    assert figure_bytes(figure, "png")
    assert max(map(len, figure.axes[0].get_title(loc="left").splitlines())) <= 64
