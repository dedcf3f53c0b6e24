"""A learning rule of your own: the program ``metarims`` with one more rule.

    python examples/custom_rule.py train --agent listeners --preset demo --out runs/listeners
    python examples/custom_rule.py evaluate runs/listeners

A rule is a core and a list of timescales, fastest first; each timescale owns groups of parameters (``encoder``,
``modules``, ``attention``, ``policy``, ``value``), and a group may learn in several. This one tests whether only
the attention has to be slow: everything else learns in the fast loop, the value head in both.
"""

from metarims.cli import main
from metarims.rules import RULES, Rule, Timescale

RULES["listeners"] = Rule(
    core="rim",
    timescales=(
        Timescale("fast", ("encoder", "modules", "policy", "value")),
        Timescale("slow", ("attention", "value")),
    ),
)

if __name__ == "__main__":
    main()
