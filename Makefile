# Everything runs in .venv, which any target makes when it is missing or out of date.
# PYTHON=/path/to/python picks the interpreter (3.11 to 3.13); PYTEST_ARGS passes options to pytest.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
USABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c '$(USABLE)' 2>/dev/null && echo $$p && break; done)
UV_PIP := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt \
	--build-constraints constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo demo-ui test test-fast lint format constraints clean

help: ## Show the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 to 3.13 with the venv module is needed; set PYTHON=."; exit 1; }
	@echo "Installing into $(VENV) with $$($(PYTHON) --version) (about a minute, once) ..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@$(UV_PIP) --editable '.[emulator]' --group dev
	@touch $@

demo: $(VENV)/.installed ## Import 69,659 purchases into a local FullStory with a real Airflow, and check every one.
	@$(BIN)/python -m demo

demo-ui: $(VENV)/.installed ## The same, then keep Airflow's UI up until Ctrl-C.
	@$(BIN)/python -m demo --ui

test: test-fast ## Run all tests: the fast ones first, then those on a real Airflow.
	$(BIN)/python -m pytest -m real_airflow $(PYTEST_ARGS)

test-fast: $(VENV)/.installed ## Run the tests that need no running Airflow.
	$(BIN)/python -m pytest -m "not real_airflow" $(PYTEST_ARGS)

lint: $(VENV)/.installed ## Check style, docstrings and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints: $(VENV)/.installed ## Refresh constraints.txt with the newest versions that fit together.
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header \
		--no-annotate --all-extras --group dev pyproject.toml --output-file constraints.txt

clean: ## Remove what the other targets made.
	rm -rf $(VENV) .demo .hypothesis .mypy_cache .ruff_cache build dist
