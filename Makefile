# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
SECONDS ?=
RATE ?=

.PHONY: demo services test lint faults fuzz bench bench-memory bench-stages bench-session bench-cryptofeed bench-codec bench-registry command-schemas clean

demo: $(VENV)/.demo
	@$(BIN)/gateway demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(RATE),--rate $(RATE))

services: $(VENV)/.services
	@$(BIN)/gateway services

# Tests mostly wait for processes and deadlines: several workers, each with services of its own, share the waiting.
WORKERS ?= 3

test: $(VENV)/.dev lint
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m infra.cli schemas check

faults: $(VENV)/.dev
	@$(BIN)/python -m pytest tests/faults -m "faults or not faults" --timeout 1200

# A million broken frames an exchange; FRAMES and EXCHANGE narrow it.
fuzz: $(VENV)/.dev
	@$(BIN)/python -m tests.property.fuzzing $(if $(FRAMES),--frames $(FRAMES)) $(if $(EXCHANGE),--exchange $(EXCHANGE))

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.whole_path

bench-memory: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.whole_path --minutes 10

bench-stages: $(VENV)/.demo
	@$(BIN)/python -m benchmarks.stages

bench-session: $(VENV)/.demo
	@$(BIN)/python -m benchmarks.session

# cryptofeed beside the session; it is nothing the project depends on, so it has an environment of its own.
CRYPTOFEED := .venv-cryptofeed

bench-cryptofeed: $(VENV)/.demo $(CRYPTOFEED)/.ready
	@$(BIN)/python -m benchmarks.session --cryptofeed $(CRYPTOFEED)/bin/python

bench-codec: $(VENV)/.demo
	@$(BIN)/python -m benchmarks.codec

bench-registry: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.registry_start

command-schemas: $(VENV)/.demo
	@$(BIN)/python -m infra.messaging.schemas.command_schemas

clean:
	rm -rf $(VENV) $(CRYPTOFEED)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up $(VENV) …"
	@$(PIP) install -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.services: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up $(VENV) with the services …"
	@$(PIP) install -c constraints.txt -e '.[services]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up $(VENV) with what the tests need …"
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

$(CRYPTOFEED)/.ready: | $(VENV)/bin/python
	@echo "setting up $(CRYPTOFEED) …"
	@$(BIN)/python -m venv $(CRYPTOFEED)
	@$(CRYPTOFEED)/bin/python -m pip --disable-pip-version-check -q install cryptofeed==2.4.1
	@touch $@
