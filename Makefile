# Everything is done in .venv, which is made on first use; nothing outside the folder is touched.
#   make demo PYTHON=python3.12                                  another Python (3.11 or 3.12)
#   make install TORCH_FROM='--index-url URL'                    another build of torch

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,\
	$(shell $(name) -c 'import sys; print("$(name)" if sys.version_info >= (3, 11) else "")' 2>/dev/null)))
VENV ?= .venv
BIN := $(VENV)/bin
TORCH_FROM ?=
# Processes that run tests. Each gets one thread, so that they do not fight for the cores.
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lint type bench learn

help:
	@echo "make install    vla3d and what it needs, in $(VENV)"
	@echo "make demo       collect demonstrations, train a policy, evaluate it; the report is $(DEMO)/report.html"
	@echo "make test       the tests"
	@echo "make test-slow  the tests that take minutes"
	@echo "make lint       ruff: style and format"
	@echo "make type       mypy"
	@echo "make bench      the benchmarks of speed; results are printed"
	@echo "make learn      the benchmark of success: trains three policies, about half an hour"

# Installing. A stamp stands for a finished installation, and is older than whatever changes what must be installed.

INPUTS := setup.cfg pyproject.toml constraints.txt Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found; name one with PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch comes first and by itself: resolved together with the rest, pip may prefer another build of it.
$(VENV)/.installed: $(INPUTS) | $(BIN)/python
	$(BIN)/python -m pip install torch==2.13.0 $(TORCH_FROM)
	$(BIN)/python -m pip install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install -c constraints.txt -e '.[test,bench,open3d]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@

install: $(VENV)/.installed

# The demo. Every step continues where it was stopped, so an interrupted demo is simply started again.

DEMO ?= runs/demo
TASKS ?= pick_and_lift,place_in_container,open_drawer
DEMOS ?= 50
EPISODES ?= 25
CONTROL_EPISODES ?= 8
TRAIN ?= experiment=tabletop3
ROLLOUT = $(BIN)/vla3d rollout checkpoint=$(DEMO)/train 'tasks=[$(TASKS)]' seed=1000

# Two processes of one thread each use two cores better than one process of two threads: the operations are small.
demo: $(VENV)/.installed
	$(BIN)/vla3d collect 'tasks=[$(TASKS)]' episodes=$(DEMOS) seed=0 out=$(DEMO)/demos
	OMP_NUM_THREADS=1 $(BIN)/torchrun --nproc-per-node=2 --no-python $(BIN)/vla3d train $(TRAIN) \
		data=$(DEMO)/demos out=$(DEMO)/train seed=0 trainer.batch_size=8 \
		resume=$$(test -e $(DEMO)/train/trainer.json && echo true || echo false)
	$(ROLLOUT) episodes=$(EPISODES) out=$(DEMO)
	$(ROLLOUT) episodes=$(CONTROL_EPISODES) control=swap videos=1 out=$(DEMO)/swap
	$(ROLLOUT) episodes=$(CONTROL_EPISODES) control=mask_text videos=1 out=$(DEMO)/mask_text
	$(ROLLOUT) episodes=$(EPISODES) out=$(DEMO) 'compare=[$(DEMO)/swap,$(DEMO)/mask_text]'
	@echo
	@echo "The report: $(abspath $(DEMO))/report.html"

# Checking.

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

test-slow: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.installed-dev
	$(BIN)/mypy

bench: $(VENV)/.installed-test
	@for benchmark in act expert rendering training_overhead; do \
		echo "== $$benchmark"; $(BIN)/python benchmarks/$$benchmark.py || exit; done
	$(BIN)/vla3d bench points
	$(BIN)/vla3d bench views

learn: $(VENV)/.installed-test
	$(BIN)/python benchmarks/tabletop3.py --control swap mask_text
