"""The README's Python runs as it stands there, but for the number of frames and seeds."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
TRAINING, WORLD = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_stepping_the_world():
    names = {}
    exec(compile(WORLD, str(README), "exec"), names)
    assert names["time_step"].reward.shape == (1024,)


@pytest.mark.slow
def test_training_from_python(capsys):
    short = TRAINING.replace("200_000", "640").replace("(0, 1, 2)", "(0,)")
    assert short.count("640") == 1
    names = {}
    exec(compile(short, str(README), "exec"), names)
    assert names["agent"].policy.output.shape[1] == 7
    assert capsys.readouterr().out.strip()
