# One environment, in .venv. `make run` sets it up, imports ~/.shipwright and follows it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PATHS  := shipwrightd tests benchmarks

.PHONY: run setup test lint check fix bench kill soak faults clean

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

# A thousand kills of a real daemon beside four writers and a rotator; KILLS and SEED choose.
kill: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.kill --kills $(or $(KILLS),1000) $(if $(SEED),--seed $(SEED))

# Random histories of a journal against the model, for SOAK_MINUTES.
soak: $(VENV)/installed-dev
	$(BIN)/python tests/model/soak.py $(or $(SOAK_MINUTES),10) $(SEED)

# Every call to the system and every statement spoilt in every way, the power gone at every write.
faults: $(VENV)/installed-dev
	SHIPWRIGHTD_FAULTS=full $(BIN)/python -m pytest -s tests/model/test_faults.py tests/model/test_statements.py \
	    tests/model/test_power_loss.py

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
