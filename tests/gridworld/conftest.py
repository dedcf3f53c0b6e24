"""What tests of environments need beyond a test: what is not collected, and what the comparisons report."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("envpool") else ["test_envpool.py"]
"""EnvPool needs a newer Python than we do."""


def pytest_terminal_summary(terminalreporter) -> None:
    """How often each outcome was seen on each id (``record_property("seen", ...)``)."""
    reports = terminalreporter.getreports("passed")
    seen = sorted(text for report in reports for name, text in report.user_properties if name == "seen")
    if seen:
        terminalreporter.section("seen")
        terminalreporter.write_line("\n".join(seen))
