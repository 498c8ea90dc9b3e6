# One environment, in .venv. `make run` sets it up, imports ~/.shipwright and follows it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PATHS  := shipwrightd tests fuzz benchmarks

.PHONY: run setup test lint check fix bench fuzz fuzz-keep coverage mutants clean

run: $(VENV)/installed
	$(BIN)/shipwrightd run $(ARGS)

setup: $(VENV)/installed-dev

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/ruff check $(PATHS)
	$(BIN)/mypy

check: lint
	$(BIN)/python -m pytest tests/unit tests/store tests/files tests/test_architecture.py

fix: $(VENV)/installed-dev
	$(BIN)/ruff format $(PATHS)
	$(BIN)/ruff check --fix $(PATHS)

bench: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet sqlite-utils duckdb
	$(BIN)/python -m benchmarks $(ARGS)

# Each target for FUZZ_MINUTES, or FUZZ_RUNS inputs; what they find is kept with `make fuzz-keep`.
FUZZ_MINUTES ?= 1
fuzz: $(VENV)/installed-fuzz
	$(BIN)/python -m fuzz $(if $(FUZZ_RUNS),--runs $(FUZZ_RUNS),--minutes $(FUZZ_MINUTES)) $(FUZZ_TARGETS)

coverage: $(VENV)/installed-dev
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -q
	$(BIN)/python -m coverage combine -q
	$(BIN)/python tests/branches.py

mutants: $(VENV)/installed-mutants
	$(BIN)/python -m mutmut run --max-children 1 $(MUTANTS)
	$(BIN)/python -m mutmut results

fuzz-keep: $(VENV)/installed-dev
	$(BIN)/python -m fuzz --keep $(FUZZ_TARGETS)

clean:
	rm -rf $(VENV) dist mutants .fuzz .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

$(VENV)/installed-fuzz: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[fuzz]"
	touch $@

$(VENV)/installed-mutants: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[mutants]"
	touch $@
