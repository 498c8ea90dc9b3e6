# One environment, in .venv. `make run` creates it, imports ~/.shipwright and follows it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PATHS  := shipwrightd tests fuzz benchmarks docs

.PHONY: run setup hooks test lint check fix docs release-check bench compare real histories kill soak faults fuzz fuzz-keep coverage mutants clean

run: $(VENV)/installed
	$(BIN)/shipwrightd run $(ARGS)

setup: $(VENV)/installed-dev

# Checks before each commit (.pre-commit-config.yaml), in this checkout only
hooks: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pre-commit
	$(BIN)/python -m pre_commit install

# Several at once, because many tests wait for a process; JOBS=1 runs one after the other. They get a fresh folder, so
# that nothing an interrupted run left behind, such as a mount, is in the way.
JOBS ?= 4
test: $(VENV)/installed-dev
	@folder=$$(mktemp -d); \
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --basetemp="$$folder/tests"; code=$$?; \
	rm -rf "$$folder"; exit $$code

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/ruff check $(PATHS)
	$(BIN)/mypy

check: lint
	$(BIN)/python -m pytest tests/unit tests/store tests/files tests/test_architecture.py

fix: $(VENV)/installed-dev
	$(BIN)/ruff format $(PATHS)
	$(BIN)/ruff check --fix $(PATHS)

docs: $(VENV)/installed-dev
	$(BIN)/python docs/generate.py

# Check what must hold before a release is tagged.
release-check: $(VENV)/installed-dev
	@test -z "$$(git status --porcelain)" || { echo "the tree has changes that are not committed"; exit 1; }
	@$(BIN)/python docs/generate.py --check || { echo "docs are not current: make docs"; exit 1; }
	@version="$$($(BIN)/python -c 'import shipwrightd; print(shipwrightd.__version__)')"; \
	grep -q "^## \[$$version\] - [0-9-]*$$" CHANGELOG.md || { echo "CHANGELOG.md has no heading for $$version"; exit 1; }; \
	git tag --points-at HEAD | grep -qx "v$$version" || { echo "HEAD has no tag v$$version"; exit 1; }; \
	echo "$$version can be released"

bench: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet sqlite-utils duckdb
	$(BIN)/python -m benchmarks $(ARGS)

# Other tools with the same rotations and crashes; those that are not installed are left out
compare: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet sqlite-utils
	$(BIN)/python -m benchmarks.compare $(ARGS)

# The real Shipwright writes, the daemon reads: make real CHECKOUT=/path/to/shipwright
real: $(VENV)/installed-dev
	@test -d "$(CHECKOUT)/scripts" || { echo "skipped: CHECKOUT names no checkout of Shipwright"; exit 0; }; \
	SHIPWRIGHT_CHECKOUT="$(abspath $(CHECKOUT))" $(BIN)/python -m pytest -v \
	    tests/system/test_real_shipwright.py tests/system/test_dashboard_live.py

# Real versions of an event log, one after the other: make histories CHECKOUT=/path/to/shipwright [ARGS="--versions 1:40"]
histories: $(VENV)/installed-dev
	@test -e "$(CHECKOUT)" || { echo "skipped: CHECKOUT names no clone of Shipwright"; exit 0; }; \
	$(BIN)/python -m benchmarks.histories "$(abspath $(CHECKOUT))" $(ARGS)

# Each target for FUZZ_MINUTES, or FUZZ_RUNS inputs; `make fuzz-keep` keeps what they find.
FUZZ_MINUTES ?= 1
fuzz: $(VENV)/installed-fuzz
	$(BIN)/python -m fuzz $(if $(FUZZ_RUNS),--runs $(FUZZ_RUNS),--minutes $(FUZZ_MINUTES)) $(FUZZ_TARGETS)

# The tests of the packages that are counted, without those of the command line and of reports.
COVERED := tests/unit tests/store tests/files tests/scenarios tests/corpus tests/properties tests/heal tests/model \
	$(addprefix tests/system/test_,daemon.py notify.py trouble.py verify.py upkeep_cli.py)
# Tracing loads modules, which the first one counts, and makes the daemon too slow for the second one's writer.
UNTRACED := tests/store/test_status_prometheus.py::test_it_loads_no_library_it_does_not_need \
	tests/system/test_verify.py::test_beside_a_daemon_and_a_busy_writer_there_is_no_false_alarm
coverage: $(VENV)/installed-dev
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -q -n $(JOBS) --dist worksteal $(COVERED) $(addprefix --deselect=,$(UNTRACED))
	$(BIN)/python -m coverage combine -q
	$(BIN)/python tests/branches.py

mutants: $(VENV)/installed-mutants
	$(BIN)/python -m mutmut run --max-children 1 $(MUTANTS)
	$(BIN)/python -m mutmut results

fuzz-keep: $(VENV)/installed-dev
	$(BIN)/python -m fuzz --keep $(FUZZ_TARGETS)

# A thousand kills of a real daemon beside four writers and a rotator; set KILLS and SEED for others.
kill: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.kill --kills $(or $(KILLS),1000) $(if $(SEED),--seed $(SEED))

# Random histories of a journal against the model, for SOAK_MINUTES.
soak: $(VENV)/installed-dev
	$(BIN)/python tests/model/soak.py $(or $(SOAK_MINUTES),10) $(SEED)

# Every system call and every statement fails in every way; the power fails at every write.
faults: $(VENV)/installed-dev
	SHIPWRIGHTD_FAULTS=full $(BIN)/python -m pytest -s tests/model/test_faults.py tests/model/test_statements.py \
	    tests/model/test_power_loss.py

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
