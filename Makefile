# Everything runs in .venv, which any target makes when it is missing or out of date.
# PYTHON=/path/to/python picks the interpreter (3.11 to 3.13); PYTEST_ARGS passes options to pytest.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
USABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c '$(USABLE)' 2>/dev/null && echo $$p && break; done)
# Airflow 2.11 knows Python up to 3.12.
PYTHON_AIRFLOW_2 ?= $(shell for p in $(PYTHON) python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c '$(subst 13,12,$(USABLE))' 2>/dev/null && echo $$p && break; done)
# A pre-release of Airflow's next version; "make constraints" resolves it.
NEXT := 3.4.0b2

# Versions of Airflow, and days by which they were released: their constraints pin what was newest then.
PINS := 2.11.2@2026-03-14 3.1.8@2026-03-12 3.2.2@2026-05-29 3.3.2@2026-09-17

# $(call install,folder,interpreter,constraints,groups)
define install
	@test -n "$(2)" || { echo "No fitting Python with the venv module was found; set PYTHON=."; exit 1; }
	@echo "Installing into $(1) with $$($(2) --version), once ..."
	@rm -rf $(1)
	@$(2) -m venv $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(3) uv
	@$(1)/bin/uv pip install --quiet --python $(1)/bin/python --constraints $(3) --build-constraints $(3) \
		--editable . $(4)
	@touch $(1)/.installed
endef

TESTS := --group test --group build

.DEFAULT_GOAL := help
.PHONY: help matrix docs docs-links demo demo-ui demo-celery test-celery chaos month bench bench-flat bench-imports bench-insert-ids bench-pipe bench-rules bench-sync bench-users bench-wait test test-fast test-fast-airflow-2 test-airflow-2 test-airflow-next test-airflow-pins test-drivers test-lineage test-mariadb test-ui screenshots lint map format check-build constraints clean

help: ## Show the targets.
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 19

$(VENV)/.installed: pyproject.toml constraints.txt
	$(call install,$(VENV),$(PYTHON),constraints.txt,--group dev)

# Without the group lint: Airflow 2.11 and import-linter need different versions of rich.
.venv-airflow-2/.installed: pyproject.toml constraints-airflow-2.txt
	$(call install,.venv-airflow-2,$(PYTHON_AIRFLOW_2),constraints-airflow-2.txt,$(TESTS))

.venv-airflow-next/.installed: pyproject.toml constraints-airflow-next.txt
	$(call install,.venv-airflow-next,$(PYTHON),constraints-airflow-next.txt,$(TESTS))

demo: $(VENV)/.installed ## Import 69,659 purchases into a local FullStory with a real Airflow, and check every one.
	@$(BIN)/python -m demo

demo-ui: $(VENV)/.installed ## The same, then keep Airflow's UI up until Ctrl-C.
	@$(BIN)/python -m demo --ui

test: test-fast ## Run all tests: the fast ones first, then those on a real Airflow.
	$(BIN)/python -m pytest -m real_airflow $(PYTEST_ARGS)

.venv-celery/.installed: pyproject.toml constraints-celery.txt
	$(call install,.venv-celery,$(PYTHON),constraints-celery.txt,$(TESTS) --group celery)

demo-celery: .venv-celery/.installed ## Import a year of purchases with CeleryExecutor and S3 while machines die, and check every one.
	@.venv-celery/bin/python -m demo.celery

test-celery: .venv-celery/.installed ## The same with three months of the year, as a test.
	.venv-celery/bin/python -m pytest -m celery $(PYTEST_ARGS)

chaos: $(VENV)/.installed ## Break imports in ROUNDS rounds on a real Airflow, and count every record. SEED repeats one.
	@$(BIN)/python -m chaos $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

month: $(VENV)/.installed ## Simulate a month of hourly syncs while much goes wrong, and count every record. SEED repeats one, DAYS for fewer.
	@$(BIN)/python -m month $(if $(DAYS),--days $(DAYS)) $(if $(SEED),--seed $(SEED))

# What only benchmarks need.
$(VENV)/.installed-bench: $(VENV)/.installed
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --group bench
	@touch $@

# Public tools that are compared; they do not share Airflow's environment, nor each other's.
.venv-bench-%/.installed: pyproject.toml constraints-bench-peers.txt $(VENV)/.installed
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-bench-$*
	@$(BIN)/uv pip install --quiet --python .venv-bench-$* --constraints constraints-bench-peers.txt --group bench-$*
	@touch $@

bench: $(VENV)/.installed-bench .venv-bench-dlt/.installed .venv-bench-drt/.installed ## Time PostgreSQL to FullStory beside code by hand, drt and dlt. ROWS, ROUNDS for less.
	@$(BIN)/python -m benchmarks.pipeline $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS))

# That environment has what S3 needs.
bench-flat: .venv-celery/.installed ## Show that memory does not grow, with 1, 5 and 10 million rows, and on S3. MILLIONS for others.
	@.venv-celery/bin/python -m benchmarks.flat $(if $(MILLIONS),--millions $(MILLIONS))

bench-imports: $(VENV)/.installed-bench ## Time the imports of operators, as Airflow pays for them with each parse of a DAG file.
	@$(BIN)/python -m benchmarks.imports

bench-insert-ids: $(VENV)/.installed ## Measure what insert ids cost a record with 1 and 10 million known. MILLIONS for others.
	@$(BIN)/python -m benchmarks.insert_ids $(if $(MILLIONS),--millions $(MILLIONS))

bench-rules: $(VENV)/.installed ## Measure what checking every record costs, on top of mapping and encoding it.
	@$(BIN)/python -m benchmarks.rules

bench-sync: $(VENV)/.installed ## Measure what insert ids cost an import, with 0, 1 and 10 million known ones.
	@$(BIN)/python -m benchmarks.sync

bench-pipe: $(VENV)/.installed ## Measure how close an import of 3,000,000 records comes to FullStory's own time.
	@$(BIN)/python -m benchmarks.pipe

bench-users: $(VENV)/.installed ## Measure a sync of 1,000,000 users, and what it costs where few have changed. ROWS for less.
	@$(BIN)/python -m benchmarks.users $(if $(ROWS),--rows $(ROWS))

bench-wait: $(VENV)/.installed ## Measure what 1,000 waiting imports cost Airflow's triggerer, in ten minutes.
	@$(BIN)/python -m benchmarks.waiting

# Fast tests run in as many processes; a module stays in one, since its tests share databases.
PROCESSES ?= 2
FAST := -m "not real_airflow and not celery and not ui" -n $(PROCESSES) --dist loadfile
# The other tests import nothing of Airflow, or take minutes over what has nothing to do with its version.
TOUCH_AIRFLOW := tests/test_*.py tests/assets tests/batch_import tests/decorators tests/hooks tests/notifications tests/operators tests/preview \
	tests/sensors tests/triggers tests/task tests/sources tests/ui tests/syncs/test_command.py \
	--ignore tests/operators/test_sync_kills.py \
	--ignore tests/batch_import/reporting/test_refused_file_crashes.py \
	--ignore tests/batch_import/reporting/test_refused_file_large.py \
	--ignore tests/batch_import/batching/test_batcher_golden.py \
	--deselect tests/operators/test_sync_contents.py::test_no_change_of_the_storage_is_one_at_which_a_process_must_not_die

test-fast: $(VENV)/.installed ## Run the tests that need no running Airflow.
	$(BIN)/python -m pytest $(FAST) $(PYTEST_ARGS)

test-fast-airflow-2: .venv-airflow-2/.installed ## Run the fast tests of what touches Airflow on the oldest one.
	.venv-airflow-2/bin/python -m pytest $(FAST) $(TOUCH_AIRFLOW) $(PYTEST_ARGS)

test-airflow-2: test-fast-airflow-2 ## The same, then tests on a real Airflow of that version.
	.venv-airflow-2/bin/python -m pytest -m "real_airflow and all_airflows" $(PYTEST_ARGS)

test-airflow-next: .venv-airflow-next/.installed ## Run all tests on the Airflow to come, NEXT in the Makefile.
	.venv-airflow-next/bin/python -m pytest $(FAST) $(PYTEST_ARGS)
	.venv-airflow-next/bin/python -m pytest -m real_airflow $(PYTEST_ARGS)

test-airflow-pins: $(PINS:%=test-airflow-pins-%) ## Install beside what Airflow was released with, and run an import.

# The pins hold what was newest on the day of the release; only what the tests need besides may be newer.
PINNED_TARGETS := test-fast-pins-% test-airflow-pins-% test-ui-pins-%
$(PINNED_TARGETS): RELEASE = $(subst @, ,$*)
$(PINNED_TARGETS): AIRFLOW = apache-airflow==$(word 1,$(RELEASE))
$(PINNED_TARGETS): PINNED = .venv-pins/$(word 1,$(RELEASE))

# $(call install_pins,groups)
define install_pins
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(PINNED)
	echo $(AIRFLOW) | $(BIN)/uv pip compile --quiet --exclude-newer $(word 2,$(RELEASE)) \
		--python $(PINNED) --no-emit-index-url --output-file $(PINNED)/pins.txt pyproject.toml -
	$(BIN)/uv pip install --quiet --python $(PINNED) --constraints $(PINNED)/pins.txt \
		$(AIRFLOW) --editable . --group test $(1)
	$(BIN)/uv pip check --python $(PINNED)
endef

test-fast-pins-%: $(VENV)/.installed
	$(call install_pins)
	$(PINNED)/bin/python -m pytest tests/test_get_provider_info.py tests/decorators tests/hooks tests/triggers $(PYTEST_ARGS)

test-airflow-pins-%: test-fast-pins-%
	$(PINNED)/bin/python -m pytest -m real_airflow -k buttons tests/real_airflow/test_local_airflow.py $(PYTEST_ARGS)

matrix: check-build ## Run end-to-end DAGs from the wheel on every Airflow and Python. CELLS="2.11.2-3.11" for some.
	@$(BIN)/python -m tools.matrix $(CELLS)

$(VENV)/.installed-mariadb: $(VENV)/.installed
	@PATH=$$PATH:/usr/sbin command -v mariadbd >/dev/null || \
		{ echo "MariaDB is missing: install mariadb-server, libmariadb-dev and pkg-config."; exit 1; }
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --group mariadb
	@touch $@

test-mariadb: $(VENV)/.installed-mariadb ## Run the tests of MySQL's drivers on a real MariaDB.
	$(BIN)/python -m pytest -m mariadb $(PYTEST_ARGS)

.venv-drivers/.installed: pyproject.toml constraints-drivers.txt
	$(call install,.venv-drivers,$(PYTHON),constraints-drivers.txt,--group drivers)

test-drivers: .venv-drivers/.installed ## Run the tests of types with the real drivers of BigQuery, Snowflake, Trino and others.
	.venv-drivers/bin/python -m pytest -m "not mariadb" tests/sources/drivers $(PYTEST_ARGS)

# What only tests of lineage need; their modules are skipped where it is missing.
LINEAGE := tests/lineage tests/real_airflow/test_lineage.py

$(VENV)/.installed-lineage: $(VENV)/.installed
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --group lineage
	@touch $@

.venv-airflow-2/.installed-lineage: .venv-airflow-2/.installed
	@.venv-airflow-2/bin/uv pip install --quiet --python .venv-airflow-2/bin/python \
		--constraints constraints-airflow-2.txt --group lineage
	@touch $@

test-lineage: $(VENV)/.installed-lineage .venv-airflow-2/.installed-lineage ## Run the tests of what OpenLineage is told, on the newest Airflow and the oldest.
	$(BIN)/python -m pytest $(LINEAGE) $(PYTEST_ARGS)
	.venv-airflow-2/bin/python -m pytest $(LINEAGE) $(PYTEST_ARGS)

# What only the documentation needs.
$(VENV)/.installed-docs: $(VENV)/.installed
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --group docs
	@touch $@

docs: $(VENV)/.installed-docs ## Make the documentation in build/docs; a warning, or a link to nothing, is an error.
	@AIRFLOW_HOME=$(CURDIR)/build/airflow $(BIN)/sphinx-build --nitpicky --fail-on-warning --keep-going --fresh-env --quiet docs build/docs
	@echo "The documentation is in build/docs/index.html."

docs-links: $(VENV)/.installed-docs ## Check the documentation's links to other sites, which needs a network.
	@AIRFLOW_HOME=$(CURDIR)/build/airflow $(BIN)/sphinx-build --builder linkcheck --quiet docs build/docs-links

.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || { echo "Chromium is missing: install Debian's package chromium."; exit 1; }

$(VENV)/.installed-ui: $(VENV)/.installed | chromium
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --group ui
	@touch $@

test-ui: $(VENV)/.installed-ui ## Look in a browser at what Airflow's UI shows, on the newest Airflow and the oldest with our page.
	$(BIN)/python -m pytest -m ui $(PYTEST_ARGS)
	$(MAKE) test-ui-pins-$(filter 3.1.%,$(PINS))

test-ui-pins-%: $(VENV)/.installed | chromium
	$(call install_pins,--group ui)
	$(PINNED)/bin/python -m pytest -m ui $(PYTEST_ARGS)

screenshots: $(VENV)/.installed-ui ## Take the pictures of the documentation, in docs/images.
	@$(BIN)/python -m demo.screenshots docs/images

lint: $(VENV)/.installed ## Check style, docstrings, types, the direction of imports, and the files of GitHub.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms \
		$(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

map: $(VENV)/.installed ## Write the map of modules in CONTRIBUTING.md.
	$(BIN)/python -m tools.module_map

format: $(VENV)/.installed ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check-build: $(VENV)/.installed ## Build wheel and sdist, check both, and load the provider from the wheel.
	rm -rf dist
	$(BIN)/uv build --quiet --python $(BIN)/python --build-constraints constraints.txt
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-wheel
	$(BIN)/uv pip install --quiet --python .venv-wheel --constraints constraints.txt dist/*.whl
	.venv-wheel/bin/fullstory-emulator --help >/dev/null
	.venv-wheel/bin/fullstory-preview --help >/dev/null
	.venv-wheel/bin/fullstory-sync --help >/dev/null
	AIRFLOW_HOME=$(CURDIR)/.venv-wheel/airflow .venv-wheel/bin/airflow providers list --output plain | \
		grep "^airflow-provider-fullstory .* $$($(BIN)/hatchling version)$$"

# UPGRADE= keeps the versions that are pinned and still fit.
UPGRADE := --upgrade
COMPILE := $(BIN)/uv pip compile --quiet $(UPGRADE) --python-version 3.11 --no-emit-index-url --no-header \
	--no-annotate --group mariadb --group bench --group lineage --group ui pyproject.toml

constraints: $(VENV)/.installed ## Refresh the constraints with the newest versions that fit together.
	$(COMPILE) --group dev --group docs --universal --output-file constraints.txt
	$(COMPILE) $(TESTS) --constraints <(echo 'apache-airflow~=2.11.0') --output-file constraints-airflow-2.txt
	$(COMPILE) $(TESTS) --constraints <(printf 'apache-airflow%s\n' ==$(NEXT) -core==$(NEXT) -task-sdk==$(NEXT:3.%=1.%)) \
		--output-file constraints-airflow-next.txt
	$(COMPILE) $(TESTS) --group celery --output-file constraints-celery.txt
	$(BIN)/uv pip compile --quiet $(UPGRADE) --python-version 3.11 --no-emit-index-url --no-header --no-annotate \
		--universal --group bench-dlt --group bench-drt --output-file constraints-bench-peers.txt
	$(BIN)/uv pip compile --quiet $(UPGRADE) --python-version 3.11 --no-emit-index-url --no-header --no-annotate \
		--group drivers --group build pyproject.toml --output-file constraints-drivers.txt

clean: ## Remove what the other targets made.
	rm -rf $(VENV) .venv-airflow-2 .venv-airflow-next .venv-bench-dlt .venv-bench-drt .venv-celery .venv-drivers .venv-pins .venv-matrix .venv-wheel .demo .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
