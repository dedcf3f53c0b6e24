"""The form of values read from JSON: the first misfit is named, and where it stands."""

from typing import Any, NotRequired, TypedDict

import pytest

from metarims.errors import UserError
from metarims.runs.schema import check_schema


class Inner(TypedDict):
    seed: int
    score: float | None


class Outer(TypedDict):
    name: str
    rows: list[tuple[int, str]]
    inner: dict[str, Inner]
    extra: NotRequired[list[int]]


GOOD: dict[str, Any] = {"name": "a", "rows": [[1, "x"]], "inner": {"b": {"seed": 3, "score": 1}}, "unknown": {}}


def test_what_fits():
    check_schema(GOOD, Outer, "it")
    check_schema(GOOD | {"extra": [1]}, Outer, "it")
    check_schema({"a": 1.5, "b": None, "c": float("inf")}, dict[str, float | None], "it")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": 3}, "it.name is 3: it must be text."),
        ({"rows": {}}, "it.rows is {}: it must be a list."),
        ({"rows": [[1]]}, r"it.rows\[0\] has 1 entries: it must have 2."),
        ({"rows": [[1, "x"], [True, "x"]]}, r"it.rows\[1\]\[0\] is True: it must be a whole number."),
        ({"inner": {"b": {"seed": 3}}}, "it.inner.b has no score."),
        ({"inner": {"b": {"seed": 3, "score": "1"}}}, "it.inner.b.score is '1': it must be a number or null."),
        ({"inner": {"b": {"seed": 2**63, "score": 1}}}, "it.inner.b.seed is 9223372036854775808: .* a whole number."),
        ({"inner": {"\ud800": {"seed": 3, "score": 1}}}, "a name in it.inner is .*: it must be text."),
        ({"name": "half \ud800"}, "it.name is .*: it must be text."),
        ({"extra": [1.5]}, r"it.extra\[0\] is 1.5: it must be a whole number."),
    ],
)
def test_what_does_not_fit(change, sentence):
    with pytest.raises(UserError, match=sentence):
        check_schema(GOOD | change, Outer, "it")


def test_no_object_at_all():
    with pytest.raises(UserError, match="it must be an object"):
        check_schema([], Outer, "it")
