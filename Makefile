# Everything that is done with this project; `make help` lists it.
# Only Python >= 3.11 and make are needed: the first target that runs sets up .venv from pinned, hashed wheels,
# kept in .wheelhouse; from then on no network is used.

PYTHON ?= $(or $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done),python3)
SUITE  ?= delivery
ARGS   ?=
BIN    := .venv/bin
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help run example-mongodb example-kafka test check lint types layers fmt bench chaos docs setup runtime lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: runtime ## Set up what is needed and run the quick start
	@$(BIN)/python examples/quickstart/run.py $(ARGS)

example-mongodb: setup ## Run the MongoDB example on a stand-in (or on the deployment that MONGODB_URI names)
	@$(BIN)/python examples/mongodb/run.py $(ARGS)

example-kafka: setup ## Run the Kafka example on a broker that is started (or on the cluster that KAFKA_BOOTSTRAP names)
	@$(BIN)/python examples/kafka/run.py $(ARGS)

test: setup ## Set up what is needed and run the whole test suite, two tests at a time (ARGS="-k name" for a part)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

check: lint types layers ## All static checks

lint: setup ## Code style, spelling, docstrings
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell
	@$(BIN)/interrogate --quiet src/mstream/ports $(wildcard tests/contracts/*_checks.py)

types: setup ## Types
	@$(BIN)/mypy

layers: setup ## Who may import whom
	@$(BIN)/lint-imports --no-logo

fmt: setup ## Put the code into its form
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: ## Measure against bare loops
	@$(PYTHON) scripts/environment.py bench
	@$(BIN)/python -m bench $(ARGS)

chaos: setup ## Kill processes at full scale (SUITE=delivery, kafka, mongodb, persistence or restart)
	@$(BIN)/python -m tests.chaos $(SUITE) $(ARGS)

docs: setup ## Generate the reference pages, check links and code blocks
	@$(BIN)/python scripts/docs.py $(ARGS)

setup: ## Set up .venv with everything that development needs
	@$(PYTHON) scripts/environment.py dev

runtime: ## Set up .venv with what running needs
	@$(PYTHON) scripts/environment.py runtime

lock: setup ## Pin and hash the newest dependencies that pyproject.toml allows (ARGS=--upgrade)
	$(COMPILE) $(ARGS) pyproject.toml --extra all --group dev --output-file requirements/dev.txt
	$(COMPILE) $(ARGS) pyproject.toml --group package --constraint requirements/dev.txt --output-file requirements/runtime.txt
	$(COMPILE) $(ARGS) --group bench --constraint requirements/dev.txt --output-file requirements/bench.txt

clean: ## Remove the environment, the wheels and every cache
	rm -rf .venv .wheelhouse build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
