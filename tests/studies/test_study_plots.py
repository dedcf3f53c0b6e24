"""What a study's figures show of made-up results."""

import pytest

from metarims.studies.catalogue import study
from metarims.studies.measures import INFORMATION
from metarims.studies.results import Results
from metarims.studies.study_plots import draw


def results(name, label, rows, curves=()):
    plan = {"label": label, "stages": ["task"], "rows": rows, "records": {}, "curves": [list(curves)]}
    return Results(study(name), "laptop", [plan], [])


def test_curves_of_all_seeds_go_to_the_end_though_a_fault_stopped_one():
    """The page says that they go on level; the areas in its table are of the same curves."""
    successes = {0: [0.0, 0.5, 1.0, 1.0], 1: [0.0, 0.5]}
    points = [
        {"seed": seed, "env_steps": 10 * (chunk + 1), "success": success, "return": None}
        for seed, heights in successes.items()
        for chunk, success in enumerate(heights)
    ]
    (drawn,) = draw(results("fig5b", "vanilla", [], points))
    assert drawn.caption == "task: success in training"
    mean = max(drawn.figure.axes[0].lines, key=lambda line: line.get_linewidth())
    assert list(mean.get_xdata()) == [10, 20, 30, 40]
    assert list(mean.get_ydata()) == [0.0, 0.5, 0.75, 0.75]


def test_points_show_what_a_claim_is_held_against_though_it_has_another_name():
    """The set that first weights choose is measured of the same agents."""
    ahead = INFORMATION
    rows = [[seed, name, "task", 0.1] for seed in range(3) for name in (ahead, f"{ahead}, untrained agent")]
    drawn = [shown for shown in draw(results("fig11", "metarims", rows)) if shown.caption.startswith(ahead)]
    assert [shown.figure.axes[0].get_legend_handles_labels()[1] for shown in drawn] == [["metarims", "untrained"]]


def test_points_stand_where_they_are_also_below_nought():
    """Nothing is cut off where every seed came to a number."""
    name = "rank correlation of value and time"
    (drawn,) = draw(results("fig7", "metarims", [[seed, name, "task", -0.2 - seed / 10] for seed in range(4)]))
    xs = [float(x) for line in drawn.figure.axes[0].lines for x in line.get_xdata()]
    assert max(xs) == pytest.approx(-0.2)
    assert -0.35 in [pytest.approx(x) for x in xs]
