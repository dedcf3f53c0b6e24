"""``python -m metarims``."""

from metarims.cli import main

main()
