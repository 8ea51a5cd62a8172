# What there is to run here. Each target brings what it needs the first time and works without network from then on.
#
#   make demo            a batch of five features from beginning to end, shown while it happens (about half a minute)
#   make test            everything that must hold: linters, types, the plugin's validation, all tests
#   make prove           the full proofs that nothing is lost (docs/durability.md), with their figures; as root also real
#                        power cuts; up to 20 minutes
#   make long            what else is too long for make test: whole nights, a cluster, further variants of slow tests
#   make mutate          changes the code in small ways and counts which changes no test notices (hours; for some modules
#                        only: make mutate MUTATE="core/transitions --sample 20")
#   make check-pythons   unit and property tests on every supported Python that is found here
#   make bench           what hooks and updates cost, against floors measured beside them (about 4 minutes; for some rows
#                        only: make bench BENCH="--row guard update-10 --pairs 30"; docs/performance.md explains it)
#   make picture         draws the README's picture of a run (docs/run.svg) anew, from a demo
#
# PYTHON names the Python 3.9 or newer to use (python3), JOBS the number of tests that run at a time (4: most of
# them wait for a client).

PYTHON ?= python3
JOBS ?= 4
BIN := .venv/bin

.PHONY: demo test prove long mutate check-pythons bench picture tools format clean

demo: tools
	@$(BIN)/python scripts/demo.py

test: tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/validate_plugin.py
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

prove: tools
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m prove -rP tests/fuzz tests/crash tests/property

long: tools
	$(BIN)/python -m pytest -n $(JOBS) -m prove tests/client tests/cluster tests/docs tests/unit

mutate:
	@$(PYTHON) scripts/mutation_score.py $(MUTATE)

check-pythons:
	@$(PYTHON) scripts/check_pythons.py

bench: tools
	@$(BIN)/python -m benchmarks $(BENCH)

picture: tools
	@$(BIN)/python scripts/picture_run.py

tools:
	@$(PYTHON) scripts/tools.py

format: tools
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-3.* .venv-mutate node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
