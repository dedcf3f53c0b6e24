"""About how long a study takes."""

from collections.abc import Mapping, Sequence
from typing import Any

from metarims.runs.progress import duration
from metarims.studies.plans import Plan, Scale, Study, plans_of

TOOK: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "smoke": {"fig9": (22168, "6bf2ea6")},
    "demo": {"demo": (547, "559a472")},
    "laptop": {
        "adaptation": (243, "d0adea0"),
        "fig11": (251, "647b1bc"),
        "fig3": (223, "98ca988"),
        "fig5a": (71, "98ca988"),
        "fig5b": (584, "d0adea0"),
        "fig6a": (393, "647b1bc"),
        "fig6b": (391, "98ca988"),
        "fig7": (198, "d0adea0"),
        "fig8": (286, "d0adea0"),
        "fig9": (505, "d0adea0"),
        "forgetting": (164, "98ca988"),
        "hallway": (171, "701768b"),
        "mechanisms": (376, "1d1974a"),
        "table1": (273, "98ca988"),
        "transfer": (259, "16e2c32"),
    },
    "paper": {
        "fig5b": (73, "6cd3a0e"),
        "fig8": (98, "6cd3a0e"),
        "fig9": (57, "16e2c32"),
        "table1": (110, "71457fa"),
        "transfer": (67, "16e2c32"),
    },
}
"""By scale and study: seconds of a core per million environment steps (of all seeds together; with compilation and
measurement), and the commit. Of the runs in ``benchmarks/scores``, on two cores of an AMD EPYC, a plan on each."""


def estimate(
    study: Study, scale: Scale, waiting: Sequence[Plan], finished: Sequence[Mapping[str, Any]], capacity: int
) -> str:
    """How long the plans ``waiting`` take, ``capacity`` of them at a time, and why; ``finished``: the
    results so far."""
    at_once, steps = min(capacity, len(waiting)), [_steps(plan, scale) for plan in waiting]
    took = TOOK.get(scale.name, {})
    if finished:
        plans = plans_of(study, scale)
        done = sum(_steps(plans[result["plan"]], scale) for result in finished)
        rates = [1e6 * sum(result["seconds"] for result in finished) / done]
        source = "at the speed of the finished plans"
    elif study.name in took:
        rate, commit = took[study.name]
        rates, source = [rate], f"as this study at commit {commit} on two cores of an AMD EPYC"
    elif not took:
        return f"How long it takes is not known: no run at scale {scale.name} is committed."
    else:
        rates = [rate for rate, _ in took.values()]
        source = f"as others at scale {scale.name} on two cores of an AMD EPYC"
    most = max(sum(steps) / at_once, *steps) / 1e6
    times = dict.fromkeys(_about(most * rate) for rate in (min(rates), max(rates)))
    return f"About {' to '.join(times)}, {at_once} plan{'s' * (at_once > 1)} at a time, {source}."


def _steps(plan: Plan, scale: Scale) -> int:
    """Environment steps of all seeds and stages."""
    return sum(plan.config(index, scale).frames * scale.seeds for index in range(len(plan.stages)))


def _about(seconds: float) -> str:
    """In whole minutes, from ten on in steps of five."""
    unit = 60.0 if seconds < 600 else 300.0
    return duration(unit * max(1, round(seconds / unit))).removesuffix(" 00 s")
