# `make help` lists the targets. All of them use .venv, made from the lock files.
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

comma := ,
OTHER_EXTRAS := $(filter-out dev cluster,$(subst $(comma), ,$(EXTRAS)))
LOCKS := requirements.lock $(OTHER_EXTRAS:%=requirements-%.lock)

.PHONY: setup
setup: $(VENV)/.ready-$(EXTRAS) ## Make .venv from the lock file (EXTRAS=dev,landmarks adds MediaPipe)

$(VENV)/.ready-$(EXTRAS): $(LOCKS) pyproject.toml install.sh
	@PYTHON=$(PYTHON) ./install.sh $(VENV) $(LOCKS)
	@$(BIN)/emobench offline-plots >/dev/null
	@$(BIN)/python -m emobench.dissection.first_use
	@touch $@

.PHONY: doctor
doctor: setup ## Tell what this machine has, and what each missing part switches off
	@$(BIN)/emobench validate --machine

.PHONY: repro
repro: setup ## Run the benchmark in params.yaml: all stages that are not up to date
	@./repro.sh
	@$(BIN)/emobench costs --format table
	@$(BIN)/emobench where

.PHONY: reference
reference: setup ## Keep the finished run as the reference that git holds, with where it came from
	@$(BIN)/emobench reference

# Two processes of one thread; whole files, since what tests of a file share is made once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: setup ## Run the tests, but for those that are slow by nature
	@$(PYTEST) -m "not slow"

.PHONY: test-slow
test-slow: setup ## Run the slow tests: real data where ../shared is, published networks, processes, queues, pages in all looks
	@$(PYTEST) -m slow

.PHONY: test-all
test-all: setup ## Run all tests
	@$(PYTEST)

.PHONY: faults
faults: setup ## Damage every file that a stage reads and every key of params.yaml, kill stages, fill disks; count; about 15 min on 2 cores (FAULTS: options)
	@$(BIN)/python tests/faults/campaign.py $(FAULTS)

.PHONY: test-browser
test-browser: setup ## Open the pages and the MLflow UI in Chromium (part of make test-all)
	@$(BIN)/python -m pytest -q -rs tests/browser

.PHONY: lint
lint: setup ## Check style, format and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

.PHONY: docs
docs: ## Build the documentation's site from docs/ and the code's docstrings into site/; a warning is an error
	@$(MAKE) --no-print-directory setup EXTRAS=$(EXTRAS)$(if $(findstring docs,$(EXTRAS)),,$(comma)docs)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo "site/index.html; to look at it: $(BIN)/mkdocs serve"

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
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --no-annotate
HASHED := $(COMPILE) --upgrade --generate-hashes --no-emit-index-url --custom-compile-command "make lock"
lock: setup ## Write the lock files anew: the newest releases that go together, with the hashes of all their files
	$(COMPILE) --upgrade --all-extras pyproject.toml -o $(VENV)/together.txt
	$(HASHED) -c $(VENV)/together.txt --extra dev pyproject.toml -o requirements.lock
	$(call lock_extra,landmarks)
	$(call lock_extra,docs)

define lock_extra
python -c "import tomllib; extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
  print(*extras['$(1)'], sep='\n')" | $(HASHED) -c $(VENV)/together.txt - -o requirements-$(1).lock
endef

.PHONY: bench
bench: setup ## Run the speed benchmarks: prints ratios, fails below the committed floors (BENCH: more options of pytest)
	@$(BIN)/python tests/benchmarks/ratios.py $(BENCH)

.PHONY: bench-compare
bench-compare: setup ## Say what got slower since BASE=main, both sides in turns (PARTS="-k training": only some)
	@$(BIN)/python tests/benchmarks/compare_bases.py --base $(or $(BASE),main) $(PARTS)

.PHONY: growth
growth: setup ## Measure how time and memory grow with images, concepts, units and configurations
	@$(BIN)/python tests/benchmarks/growth.py
