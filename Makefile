# Needs make and Python 3.11 or newer (with venv). Everything else goes into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench
CLIENT_VENVS := .venv-clients
PIP := $(BIN)/python -m pip --disable-pip-version-check
SDKS := sdk/python/client sdk/python/job sdk/python/middleman sdk/python/mimaas
PYTEST_ARGS ?=
# What is started a thousand times is compiled once, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

$(STAMP): requirements.lock pyproject.toml $(SDKS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Trainshed needs Python 3.11 or newer: make PYTHON=python3.11")'
	@rm -f $@
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV) (the first time takes a minute)"
	@$(PIP) install --quiet --no-deps --no-compile --require-hashes -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-compile --no-build-isolation -e . $(SDKS:%=-e ./%)
	@$(PIP) check
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib src sdk || true # templates
	@touch $@

.PHONY: help install demo demo-board up check format test bench soak lock clean
.PHONY: check-format check-lint check-types check-contracts check-budgets

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(STAMP) ## Make .venv from the lock; a second run is instant
	@echo "$(VENV) is ready"

demo: $(STAMP) ## Train a real classifier through the queue and show the receipt
	@$(BIN)/trainshed demo $(ARGS)

demo-board: $(STAMP) ## Learn what a small network costs on three emulated boards
	@$(BIN)/trainshed demo-board $(ARGS)

up: $(STAMP) ## Start the server on this machine
	@$(BIN)/trainshed up $(ARGS)

check: check-format check-lint check-types check-contracts check-budgets ## Format, lint, types, import contracts, budgets (make -k check shows all)

check-format: $(STAMP)
	$(BIN)/ruff format --check --quiet .

check-lint: $(STAMP)
	$(BIN)/ruff check .

check-types: $(STAMP)
	$(BIN)/mypy

check-contracts: $(STAMP)
	$(BIN)/lint-imports

check-budgets: $(STAMP)
	$(BIN)/python tools/budgets.py

format: $(STAMP) ## Format the code and repair what the linter can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

test: $(STAMP) ## Install what the tests need, check, and run every test
	@tools/test-deps.sh
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync check
	$(BIN)/python -m pytest -n 4 --dist worksteal -m "not alone" $(PYTEST_ARGS)
	$(BIN)/python -m pytest -m alone $(PYTEST_ARGS) || test $$? -eq 5

bench: $(STAMP) ## Measure against the targets; peers go into .venv-bench
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")' > $(BENCH_VENV)/peers.txt
	@$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check install --quiet -r $(BENCH_VENV)/peers.txt
	$(BIN)/python -m bench $(ARGS)

soak: $(STAMP) ## The volume tests at full size
	@tools/test-deps.sh
	TRAINSHED_SOAK=1 $(BIN)/python -m pytest -s --timeout=0 $(PYTEST_ARGS) tests/integration tests/acceptance tests/unit/board

lock: ## Write requirements.lock again with the newest versions allowed
	@tools/lock.sh

clean: ## Remove what make made; data directories stay
	rm -rf $(VENV) $(BENCH_VENV) $(CLIENT_VENVS) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find src sdk tests tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
