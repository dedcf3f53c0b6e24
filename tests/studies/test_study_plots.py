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
    assert [row_names(shown) for shown in drawn] == [["metarims", "untrained"]]


def row_names(drawn):
    return [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()]


def test_the_papers_value_is_marked_in_the_row_of_its_agent():
    rows = [[seed, "success", "MiniGrid-DoorKey-8x8-v0", 0.2 + seed / 100] for seed in range(5)]
    (drawn,) = draw(results("table1", "metarims", rows))
    (mark,) = [line for line in drawn.figure.axes[0].lines if line.get_marker() == "D"]
    assert list(mark.get_xdata()) == [0.47]
    assert "the paper's value" in drawn.caption
    (other,) = draw(results("table1", "slowlr", rows))
    assert not [line for line in other.figure.axes[0].lines if line.get_marker() == "D"]


def test_modules_are_counted_from_one():
    found = results("fig11", "metarims", [])
    raster = {"active": [[[1, 0, 0], [0, 0, 1]]], "env": "task", "seed": 0}
    found.plans[0]["records"]["raster"] = raster
    (drawn,) = draw(found)
    assert row_names(drawn) == ["1", "2", "3"]
    assert [list(line.get_ydata()) for line in drawn.figure.axes[0].lines if line.get_marker() == "|"] == [[1], [], [3]]


@pytest.mark.parametrize("scores", [[0.1, 0.5, 0.9], [12_000.0, 250_000.0, 100_000.0]])
def test_no_tick_covers_another(scores):
    rows = [
        [seed, "frames to recover", f"a task with a long name {n}", score]
        for n in range(4)
        for seed, score in enumerate(scores)
    ]
    for drawn in draw(results("adaptation", "an agent with a rather long name", rows)):
        drawn.figure.draw_without_rendering()
        (axes,) = drawn.figure.axes
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [label.get_window_extent() for label in labels if label.get_text()]
            assert not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_points_stand_where_they_are_also_below_nought():
    """Nothing is cut off where every seed came to a number."""
    name = "rank correlation of value and time"
    (drawn,) = draw(results("fig7", "metarims", [[seed, name, "task", -0.2 - seed / 10] for seed in range(5)]))
    xs = [float(x) for line in drawn.figure.axes[0].lines for x in line.get_xdata()]
    assert max(xs) == pytest.approx(-0.2)
    assert -0.4 in [pytest.approx(x) for x in xs]
