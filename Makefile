# Everything a person does with this repository. `make` alone lists it.
MAKEFLAGS += --no-print-directory
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
UV ?= $(BIN)/uv
PROTOS := $(shell find proto -name '*.proto')
T ?=
SEED ?=
B ?=

.PHONY: help setup run test explore unit contract integration e2e chaos-tests browser chaos lint format proto check proto-check guest packages wheel docs bench bench-parts tdlib lock audit clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## Make .venv with the pinned packages (idempotent)

$(READY): requirements-dev.lock pyproject.toml
	@echo "Installing the pinned packages into .venv: one or two minutes, once."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)

run: $(READY) ## Start the sandbox: gateway, sample services and a Bot API simulator
	$(BIN)/telegram-gateway sandbox

test: $(READY) $(if $(filter-out browser%,$(T)),,chromium) ## Run all tests (T=unit/actors for one folder)
	@echo "Running $(if $(T),the tests of tests/$(T),all tests in $(WORKERS) processes: about seven minutes on two cores)."
	@echo "Each dot is a test that passed; the share of all tests stands at the end of a line."
	$(BIN)/pytest -q $(if $(T),,$(SIDE_BY_SIDE)) tests/$(T)
	@echo "All tests passed."

explore: $(READY) ## Run the tests that make up their examples, with new ones each time
	$(BIN)/pytest -q $(SIDE_BY_SIDE) --hypothesis-profile=explore $$(grep -rlE "hypothesis" tests --include='test_*.py')

unit: $(READY) ## Run the tests that start no server and no process
	$(BIN)/pytest -q $(SIDE_BY_SIDE) tests/unit

contract: $(READY) ## Run the tests of the contracts against fake gRPC servers
	$(BIN)/pytest -q $(SIDE_BY_SIDE) tests/contract

integration: $(READY) ## Run the tests of single parts with real servers
	$(BIN)/pytest -q $(SIDE_BY_SIDE) tests/integration

e2e: $(READY) ## Run the tests of complete gateways
	$(BIN)/pytest -q $(SIDE_BY_SIDE) tests/e2e

chaos-tests: $(READY) ## Run the short form of make chaos, and the tests of its checker
	$(BIN)/pytest -q $(SIDE_BY_SIDE) tests/chaos

browser: $(READY) chromium ## Run the tests of the sandbox's page in Chromium
	$(BIN)/pytest -q tests/browser

# Twice as many processes as cores, because many tests wait for servers, leases or timers.
CORES := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
WORKERS := $(shell echo $$(( $(CORES) > 8 ? 16 : 2 * $(CORES) )))
# A file stays in one process, for the servers that its tests share. Files start in the order
# of their names, so those of the browser and chaos, which take longest, come first.
SIDE_BY_SIDE = -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: chromium
chromium: # for the tests of the sandbox's page; where it cannot be installed they say that it is missing
	@command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || ! command -v apt-get >/dev/null || { \
	  echo "Installing chromium for the tests of the sandbox's page: about a minute, once."; \
	  as_root=$$([ "$$(id -u)" = 0 ] || echo sudo -n); export DEBIAN_FRONTEND=noninteractive; \
	  install() { $$as_root apt-get install -qy --no-install-recommends "$$1" fonts-noto-color-emoji; }; \
	  { $$as_root apt-get update -q && { install chromium-headless-shell || install chromium; }; } >/dev/null || \
	  echo "It could not be installed: the tests that need it say so."; }

lint: $(READY) ## Check style, types, import borders and contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) proto-check

format: $(READY) ## Format the code and the contracts
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/buf format -w

proto: $(READY) ## Generate stubs and routes.lock from the contracts
	rm -rf generated/botgateway
	$(MAKE) stubs INTO=generated
	$(BIN)/telegram-gateway routes --lock > routes.lock

.PHONY: stubs
stubs:
	mkdir -p $(INTO)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iproto \
	  --python_out=$(INTO) --mypy_out=quiet:$(INTO) $(PROTOS)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iproto \
	  --grpc_python_out=$(INTO) --mypy_grpc_out=quiet:$(INTO) $(filter %_service.proto,$(PROTOS))

proto-check: $(READY) ## Compare stubs and routes with the contracts, and the contracts with main
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	@stubs=$$(mktemp -d) && trap 'rm -rf "$$stubs"' EXIT && $(MAKE) stubs INTO="$$stubs" && \
	  diff -r -x __pycache__ "$$stubs" generated || { echo 'generated/ is not what the contracts give: run make proto'; exit 1; }
	@$(BIN)/telegram-gateway routes --lock | diff routes.lock - || { echo 'routes.lock is not what the contracts give: run make proto'; exit 1; }
	$(BIN)/buf breaking --against '.git#branch=main'
	@! git show main:routes.lock | grep -vxFf routes.lock || { echo 'these triggers are on main and gone here: users and old buttons rely on them'; exit 1; }

GUEST := tests/support/services/guest

guest: $(READY) ## Run the tests that contracts could disturb with one more service installed (T=tests/e2e)
	@stubs=$$(mktemp -d) && trap 'rm -rf "$$stubs"' EXIT && \
	  $(BIN)/python -m grpc_tools.protoc -Iproto -I$(GUEST) --python_out="$$stubs" --grpc_python_out="$$stubs" \
	    botgateway/weather/v1/weather_service.proto && \
	  PYTHONPATH="$$stubs" $(BIN)/telegram-gateway routes | grep -q /forecast && \
	  PYTHONPATH="$$stubs" $(BIN)/pytest -q $(SIDE_BY_SIDE) $(or $(T),tests/contract tests/unit/services tests/unit/sandbox \
	    tests/unit/config tests/integration/repository/test_deploy.py \
	    $(addprefix tests/e2e/test_,bot_commands.py cli.py contracts.py new_service.py scenarios.py update_types.py))

packages: $(READY) ## Build the contracts as packages for Python and npm in dist/packages, and try them
	rm -rf dist/packages
	cd deploy/packages/python && $(CURDIR)/$(BIN)/python -m hatchling build -t wheel -d $(CURDIR)/dist/packages
	$(BIN)/pytest -q tests/integration/repository/test_packages.py
	$(MAKE) -C deploy/packages/npm check BUF=$(CURDIR)/$(BIN)/buf INTO=$(CURDIR)/dist/packages
	@echo "The packages are in dist/packages."

wheel: $(READY) ## Build the gateway's wheel in dist
	$(BIN)/python -m hatchling build -t wheel -d dist

bench: $(READY) ## Compare with what else one could use: table and picture (half an hour; B=--quick)
	$(BIN)/python -m benchmarks.comparison $(B)

bench-parts: $(READY) ## Measure isolation, sessions, mailboxes, a crowd, workers, streams and deliveries (55 minutes)
	$(BIN)/python -m benchmarks.isolation
	$(BIN)/python -m benchmarks.sessions
	$(BIN)/python -m benchmarks.mailboxes
	$(BIN)/python -m benchmarks.data_directory
	$(BIN)/python -m benchmarks.crowd
	$(BIN)/python -m benchmarks.workers
	$(BIN)/python -m benchmarks.streams
	$(BIN)/python -m benchmarks.stops
	$(BIN)/python -m benchmarks.sends

chaos: $(READY) ## Break real processes under load, and check what they did (eight minutes; SEED=2)
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED))

tdlib: $(READY) ## Compare markup and links with TDLib (60,000 texts of each kind; N=1000 SEED=2)
	$(BIN)/python -m tests.tdlib $(or $(N),60000) $(or $(SEED),1)

docs: $(READY) ## Write the tables of docs/reference from the code, and build the site in dist/docs
	$(BIN)/python -m tests.support.reference_tables
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going docs dist/docs
	@echo "The documentation is in dist/docs/index.html."

check: lint test ## What CI runs

lock: $(READY) ## Pin all packages again, with hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --group dev -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --constraint requirements-dev.lock --group pyproject.toml:build -o requirements-build.lock

audit: $(READY) ## Look for known holes in what production installs; list it in dist/sbom.json
	mkdir -p dist
	$(UV) tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.lock \
	  --pyproject pyproject.toml --output-reproducible --of JSON -o dist/sbom.json
	$(UV) tool run --quiet --from pip-audit==2.10.1 pip-audit --strict --disable-pip --require-hashes \
	  --progress-spinner off -r requirements.lock || { \
	  echo 'audit: failed. Either a known hole is named above, or the list of holes could not be asked:'; \
	  echo 'then nothing is known, neither good nor bad.'; exit 1; } >&2

clean: ## Remove what make made
	rm -rf .venv .contenders dist examples/*/node_modules deploy/packages/npm/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
