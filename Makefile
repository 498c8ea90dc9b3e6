# One environment, in .venv. `make run` sets it up, imports ~/.shipwright and follows it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PATHS  := shipwrightd tests benchmarks

.PHONY: run setup test lint check fix bench compare real clean

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

# Others on the same rotations and crashes; those that are not installed are left out
compare: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet sqlite-utils
	$(BIN)/python -m benchmarks.compare $(ARGS)

# The real Shipwright writes, the daemon reads: make real CHECKOUT=/path/to/shipwright
real: $(VENV)/installed-dev
	@test -d "$(CHECKOUT)/scripts" || { echo "skipped: CHECKOUT names no checkout of Shipwright"; exit 0; }; \
	SHIPWRIGHT_CHECKOUT="$(abspath $(CHECKOUT))" $(BIN)/python -m pytest -v \
	    tests/system/test_real_shipwright.py tests/system/test_dashboard_live.py

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@
