# Each target creates .venv and installs what it needs by itself. PYTHON names the interpreter (3.11 or newer).
PYTHON ?= python3
PEERS_PYTHON ?= python3.12
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test test-process test-all parity words mutants fuzz faults wheels audit lint docs bench bench-world clean

demo: $(VENV)/installed
	$(BIN)/metarims demo

# The fast slice.
test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not process and not parity"

# Tests that start processes: the program itself, browsers, loggers, Ray, hosts, fuzzing.
test-process: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "process and not slow"

# Every environment against Farama's, at length.
parity: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist load -m parity tests/gridworld

# Every test.
test-all: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# Former words of ours that are left in sources, pages and help.
words: $(VENV)/installed-dev
	$(BIN)/python tests/words.py

# Small faults in the sources, one at a time: does a test notice? About half an hour on one core.
mutants: $(VENV)/installed-dev
	$(BIN)/python tests/mutations.py

# More than 100,000 spoiled inputs: each works or raises UserError. About 15 minutes on one core.
fuzz: $(VENV)/installed-dev
	$(BIN)/python -m tests.fuzz.run

# Kills, full disks, damaged files and NaN at random moments; the scores go to benchmarks/scores/faults.json.
faults: $(VENV)/installed-dev
	$(BIN)/python -m tests.faults.run

# Wheel and sdist in fresh environments: Python 3.11, 3.12 and 3.13, lowest and newest dependencies.
wheels: $(VENV)/installed-dev
	$(BIN)/python tests/wheels.py

# A bill of materials of what users install, and known weaknesses in it, which takes a network that reaches the databases.
audit:
	rm -rf .audit-venv && $(PYTHON) -m venv .audit-venv
	.audit-venv/bin/python -m pip install --quiet --disable-pip-version-check . pip-audit cyclonedx-bom
	mkdir -p dist && .audit-venv/bin/cyclonedx-py environment .audit-venv/bin/python --pyproject pyproject.toml -o dist/sbom.json
	.audit-venv/bin/pip-audit --local

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The documentation as HTML; every warning is an error.
docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -q -n -W --keep-going docs docs/_build/html
	@echo "Wrote docs/_build/html/index.html."

# Training speed against torch-ac, which has an environment of its own.
bench: $(VENV)/installed .bench-venv/installed
	$(BIN)/python benchmarks/training.py

# Speed of the world against EnvPool, navix and xminigrid, which need a newer Python; whoever is missing is a note.
bench-world: $(VENV)/installed
	@test -f .peers-venv/installed || { $(PEERS_PYTHON) -m venv .peers-venv \
		&& .peers-venv/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements-world.txt \
		&& touch .peers-venv/installed; } || echo "The peers could not be installed with $(PEERS_PYTHON) (PEERS_PYTHON=...)."
	$(BIN)/python benchmarks/world.py --peers .peers-venv/bin/python

clean:
	rm -rf $(VENV) .audit-venv .bench-venv .peers-venv .cache dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "metarims needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@ $(VENV)/installed

.bench-venv/installed: benchmarks/requirements.txt
	$(PYTHON) -m venv .bench-venv
	.bench-venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
