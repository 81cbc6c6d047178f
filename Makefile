# `make help` lists the targets.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
QUICK := not database and not process and not slow
STAMP := $(VENV)/.installed
NODE := tests/flow/node
VERSIONS := tests/versions
POSTGRESQL ?= 14 15 16 17
JAVASCRIPT := $(if $(shell command -v npm 2>/dev/null),$(NODE)/node_modules/.package-lock.json)

.DEFAULT_GOAL := help
.PHONY: help bench check coverage faults test versions docs pictures serve lint quick format notebooks notebooks-run clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-zA-Z.]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bench: $(STAMP) ## Measure memory against PostgreSQL and write a run into reports/runs
	$(BIN)/chatsys bench

faults: $(STAMP) ## Inject faults under traffic and write docs/RELIABILITY.md; continues an interrupted run
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m chatsys.lab.faults --profile long --page docs/RELIABILITY.md

check: $(STAMP) ## Check style, types and imports, and run the tests that need no server or other program
	@$(MAKE) --no-print-directory --output-sync -j 2 lint quick

quick: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "$(QUICK)"

test: $(STAMP) $(JAVASCRIPT) lint ## Run every test
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m pytest -n 2 --dist worksteal

versions: $(STAMP) $(VERSIONS)/node_modules/.package-lock.json ## Run the tests of databases on PostgreSQL 14 to 17, or on POSTGRESQL
	for version in $(POSTGRESQL); do \
	  PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m pytest -n 2 --dist worksteal -m database --postgresql "$$version" \
	    tests/analytics tests/contract tests/db tests/store tests/transfer tests/web || exit; \
	done

coverage: $(STAMP) ## Show which lines no test of `make check` runs
	$(BIN)/python -m pytest -q -n 2 -m "$(QUICK)" --cov=chatsys --cov-report=term:skip-covered

docs: $(STAMP) ## Generate pages from the source, and build the documentation into site/
	$(BIN)/python -m chatsys.settings > docs/SETTINGS.md
	$(BIN)/python -m chatsys.web.reference > docs/API.md
	$(BIN)/python -m chatsys.analytics.reference
	$(BIN)/python -m docs.tools.cli > docs/CLI.md
	$(BIN)/python -m docs.tools.result_files > docs/RESULT_FILES.md
	$(BIN)/python -m docs.tools.metrics
	$(BIN)/python -m docs.tools.architecture
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

pictures: $(STAMP) $(JAVASCRIPT) ## Create the pictures of README and documentation; needs Chromium
	$(BIN)/python -m docs.tools.pictures

serve: $(STAMP) ## Start the chat server on an embedded PostgreSQL
	$(BIN)/chatsys serve

lint: $(STAMP) ## Check style, types and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the source
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks-run: $(STAMP) ## Execute the notebooks in place, from the committed runs
	$(BIN)/python -m chatsys.analytics.notebooks

notebooks: $(STAMP) ## Open the notebooks in JupyterLab
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

.venv: $(STAMP) ## Create the environment

$(STAMP): pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	  "$(PYTHON)" -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $(STAMP)

%/node_modules/.package-lock.json: %/package-lock.json
	npm --prefix $* ci --prefer-offline --no-audit --no-fund --loglevel=error
	@touch $@

clean: ## Remove the environment and the embedded database
	rm -rf $(VENV) .chatsys
