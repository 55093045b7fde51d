# `make help` lists the targets. All of them use .venv, made from requirements.lock.
VENV := .venv
BIN := $(abspath $(VENV))/bin
PYTHON ?= python3
EXTRAS ?= dev
export PATH := $(BIN):$(PATH)
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(VENV)/.ready-$(EXTRAS) ## Make .venv from the lock file (EXTRAS=dev,landmarks adds MediaPipe)

$(VENV)/.ready-$(EXTRAS): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --no-build-isolation --editable ".[$(EXTRAS)]"
	@touch $@

.PHONY: repro
repro: setup ## Run the benchmark in params.yaml: all stages that are not up to date
	@$(BIN)/dvc repro
	@$(BIN)/emobench where

.PHONY: test
test: setup ## Run the tests (slow ones on real data too, where ../shared is)
	@$(BIN)/python -m pytest -q

.PHONY: test-browser
test-browser: setup ## Open the pages and the MLflow UI in Chromium (part of make test)
	@$(BIN)/python -m pytest -q -rs tests/browser

.PHONY: lint
lint: setup ## Check style and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

.PHONY: bench
bench: setup ## Run the speed benchmarks: prints ratios, fails below the committed floors
	@$(BIN)/python tests/benchmarks/ratios.py

.PHONY: ui
ui: setup ## Open the MLflow UI on this machine's loopback address
	@$(BIN)/emobench ui

.PHONY: deps
deps: setup ## Write the modules that each stage imports into dvc.yaml
	@$(BIN)/python tests/import_closure.py

.PHONY: clean
clean: ## Remove all results and the environment; keeps reports, raw inputs and the DVC cache
	rm -rf $(VENV) artifacts models mlflow.db mlartifacts $(filter-out data/raw,$(wildcard data/*))

.PHONY: lock
lock: ## Write requirements.lock from a fresh environment with all extras
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet setuptools
	$(VENV)-lock/bin/python -m pip install --quiet --no-build-isolation ".[dev,landmarks]"
	$(VENV)-lock/bin/python -m pip freeze --all --exclude emobench --exclude pip > requirements.lock
	rm -rf $(VENV)-lock build
