import json

import matplotlib
import numpy as np
import pytest

from metarims.errors import UserError
from metarims.evaluation.statistics import mean_band, stratified_interval
from metarims.runs.metrics_log import read_metrics
from metarims.views import plots
from metarims.views.styles import COLORS, assign_styles


def rows(agent: str, seed: int, steps, values) -> list[dict]:
    return [
        {"agent": agent, "seed": seed, "env_steps": int(x), "success": y} for x, y in zip(steps, values, strict=True)
    ]


def test_mean_over_seeds_on_common_steps():
    data = rows("a", 0, (0, 100), (0.0, 1.0)) + rows("a", 1, (0, 50, 100), (0.2, 0.2, 0.4))
    curve = plots.curves(data)["a"]
    np.testing.assert_array_equal(curve.env_steps, [0, 50, 100])
    np.testing.assert_allclose(curve.mean, [0.1, 0.35, 0.7])
    assert np.isnan(curve.low).all()


def test_a_curve_ends_where_its_shortest_seed_ends():
    data = rows("a", 0, (10, 20, 30), (0.0, 0.5, 1.0)) + rows("a", 1, (10, 20), (0.0, 0.5))
    np.testing.assert_array_equal(plots.curves(data)["a"].env_steps, [10, 20])


def test_chunks_without_an_episode_are_left_out():
    data = rows("a", 0, (10, 20, 30), (float("nan"), None, 1.0)) + rows("b", 0, (10,), (None,))
    curves = plots.curves(data)
    assert list(curves) == ["a"]
    np.testing.assert_array_equal(curves["a"].env_steps, [30])


def test_the_band_of_five_seeds_by_hand():
    """A resample of (0, 0, 0, 0, 1) has k ones with binomial(5, 1/5): P(k > 2) = 0.058, P(k > 3) = 0.007."""
    low, high = mean_band(np.array([[0.0], [0.0], [0.0], [0.0], [1.0]]))
    assert (low[0], high[0]) == (0.0, 0.6)


def test_the_band_is_the_interval_at_each_point():
    values = np.random.default_rng(2).uniform(size=(6, 3))
    low, high = mean_band(values, rng=5, resamples=200)
    for point in range(3):
        interval = stratified_interval(np.mean, values[:, point : point + 1], rng=5, resamples=200)
        assert (low[point], high[point]) == pytest.approx(interval[1:])


def test_the_figure_tells_agents_apart_twice_and_counts_seeds():
    data = [row for seed in range(3) for row in rows("metarims", seed, (0, 10), (0.1 * seed, 1.0))]
    data += [row for seed in range(2) for row in rows("vanilla", seed, (0, 10), (0.1 * seed, 0.5))]
    axes = plots.learning_curves(data, title="Task").axes[0]
    means = [line for line in axes.lines if line.get_linewidth() > 2]
    assert [line.get_label() for line in means] == ["metarims (3 seeds)", "vanilla (2 seeds, no interval)"]
    assert len({line.get_color() for line in means}) == 2
    assert len({str(line.get_linestyle()) for line in means}) == 2
    assert len(axes.lines) == 2 + 3 + 2
    assert len(axes.collections) == 1
    assert axes.get_xlabel() == "environment steps"
    assert axes.get_legend().get_title().get_text().endswith("95 % interval (Student's t)")


def lightness_and_hue(color):
    """CIE L*a*b* of an sRGB colour."""
    srgb = np.array(matplotlib.colors.to_rgb(color))
    linear = np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
    mix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(mix @ linear / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ten_colours_differ(theme):
    places = np.array([lightness_and_hue(color) for color in COLORS[theme]])
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert len(places) == 10
    assert distances[~np.eye(10, dtype=bool)].min() > 20


def test_an_agent_looks_the_same_among_any_others():
    alone, among = assign_styles(["vanilla"]), assign_styles(["mine", "metarims", "vanilla", "modular"])
    assert alone["vanilla"] == among["vanilla"]
    assert len(set(among.values())) == 4
    assert assign_styles(["vanilla, seed-0 and 3 more"]).popitem()[1] == alone["vanilla"]
    twice = assign_styles(["vanilla, a", "vanilla, b", "metarims"])
    assert len(set(twice.values())) == 3
    many = assign_styles([f"k={k}" for k in range(40)])
    assert len({(style.light, style.dashes) for style in many.values()}) == 40


def test_agents_of_a_page_keep_their_colour_where_others_are_missing():
    styles = assign_styles(["one", "other"])
    axes = plots.learning_curves(rows("other", 0, (0, 10), (0.0, 1.0)), styles=styles).axes[0]
    assert axes.lines[-1].get_color() == styles["other"].light
    assert axes.get_legend() is None, "the page has one for all its figures"


def test_the_legend_of_many_agents_stands_beside_their_curves():
    def legend_and_panel(number):
        lines = [rows(f"agent {n}", 0, (0, 9), (0.0, 1.0)) for n in range(number)]
        figure = plots.learning_curves([row for line in lines for row in line])
        figure.draw_without_rendering()
        (axes,) = figure.axes
        return axes.get_legend().get_window_extent(), axes.get_window_extent(), figure.bbox

    few, panel, _ = legend_and_panel(plots.FEW)
    assert few.x1 <= panel.x1
    many, panel, whole = legend_and_panel(plots.FEW + 1)
    assert panel.x1 <= many.x0
    assert many.x1 <= whole.x1


def test_figures_leave_no_global_state_and_repeat_exactly(tmp_path):
    data = [row for seed in range(3) for row in rows("a", seed, (0, 10), (0.1 * seed, 1.0))]
    before = dict(matplotlib.rcParams)
    first, second = (plots.figure_bytes(plots.learning_curves(data)) for _ in range(2))
    assert first == second
    assert dict(matplotlib.rcParams) == before
    for name, head in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")):
        assert plots.save_figure(plots.learning_curves(data), tmp_path / name).read_bytes().startswith(head)


def test_what_cannot_be_drawn_is_refused(tmp_path):
    data = rows("a", 0, (0, 10), (0.0, 1.0))
    with pytest.raises(UserError, match="finite 'return'"):
        plots.learning_curves(data, "return")
    with pytest.raises(UserError, match=r"'a\.gif' must end in one of"):
        plots.save_figure(plots.learning_curves(data), tmp_path / "a.gif")


def test_step_numbers_are_short():
    assert [plots.short_steps(x) for x in (0.0, 500.0, 4e4, 1.5e6, 2e9)] == ["0", "500", "40k", "1.5M", "2G"]


def test_metrics_are_read_with_the_agents_name(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"agent": "modular"}))
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"seed": 0, "env_steps": 10, "success": NaN}\n\n{"seed": 0, "env_steps": 20, "succ')
    read = read_metrics(tmp_path)
    assert [(row["agent"], row["seed"], row["env_steps"]) for row in read] == [("modular", 0, 10)]
    assert read_metrics(file, "mine")[0]["agent"] == "mine"


def test_metrics_that_are_none_are_refused(tmp_path):
    with pytest.raises(UserError, match="There is no"):
        read_metrics(tmp_path)
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"seed": 0, "env_steps": 10}\n{oh no\n{"seed": 0, "env_steps": 20}\n')
    with pytest.raises(UserError, match="Line 2 of"):
        read_metrics(file)
    file.write_text('{"seed": 0}\n')
    with pytest.raises(UserError, match="lacks 'env_steps'"):
        read_metrics(file)
