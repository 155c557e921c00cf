# One verb for each task; CI runs the same ones.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(sort $(wildcard plugins/*/pyproject.toml))

# uv does not read pip's own settings: forward where pip is told to find wheels and the index it uses.
export UV_FIND_LINKS ?= $(or $(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null))
export UV_INDEX_URL ?= $(or $(PIP_INDEX_URL),$(shell $(PYTHON) -m pip config get global.index-url 2>/dev/null))

.PHONY: demo setup test test-docs test-services test-faults check format docs bench build clean

demo: setup
	$(BIN)/artifact-torch demo

setup: $(VENV)/.installed

# Entry points are read from installed metadata: a changed pyproject.toml must be installed again.
$(VENV)/.installed: pyproject.toml constraints.txt $(PLUGINS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt \
		--group dev -e . $(patsubst %/pyproject.toml,-e ./%,$(PLUGINS))
	touch $@

# Plugins whose tests bring runs to real services, which take long to start.
SERVICES := $(addprefix plugins/,artifact_experiment mlflow tensorboard wandb)
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal
ALL_TESTS := test test-docs test-services test-faults

# Tests run side by side already: with more threads each, they would hold each other up.
$(ALL_TESTS): export OMP_NUM_THREADS = 1
# Nor does each training on tables start a process for its artifacts; those that are about that ask for it.
$(ALL_TESTS): export ARTIFACT_TORCH_VALIDATION = inline
test: setup
	$(PYTEST) -m "not slow and not documentation" $(addprefix --ignore=,$(SERVICES)) $(ARGS)

# What the README, the tutorial and the templates of plugins say, done by commands in environments of their own.
test-docs: setup
	$(PYTEST) -m "documentation and not slow" $(addprefix --ignore=,$(SERVICES)) $(ARGS)

# Trackers against MLflow, TensorBoard, wandb and the clients of artifact-experiment themselves, offline.
test-services: setup
	$(PYTEST) -m "not slow" $(SERVICES) $(ARGS)

# Processes killed at random instants, disks that fill up, long random sequences: up to an hour.
test-faults: setup
	$(PYTEST) -m slow $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup
	$(BIN)/python -m artifact_torch.plugin.documentation docs/hooks.md
	$(BIN)/python -m artifact_torch.testing.component_reference \
		$$(grep -l '^<!-- components: begin -->$$' plugins/*/README.md)

bench: setup
	$(BIN)/python tests/benchmarks/bench_start.py $(OUT)
	$(BIN)/python tests/benchmarks/bench_hooks.py $(OUT)
	$(BIN)/python tests/benchmarks/bench_training.py $(OUT)
	$(BIN)/python tests/benchmarks/bench_components.py $(OUT)
	$(BIN)/python tests/benchmarks/bench_trackers.py $(OUT)
	$(BIN)/python tests/benchmarks/bench_loader.py $(OUT)
	$(BIN)/python tests/benchmarks/bench_size.py $(OUT)
	$(BIN)/python tests/benchmarks/bench_validation.py $(OUT)

build: setup
	rm -rf dist
	for project in . $(patsubst %/pyproject.toml,%,$(PLUGINS)); do \
		$(BIN)/python -m build --quiet --no-isolation --outdir dist $$project || exit 1; done
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) dist
