# Every target does all of its set-up on a machine with only Python 3.11+, a C++ compiler and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NATIVE := $(wildcard CMakeLists.txt core/splat/native/*.cpp core/splat/native/*.h core/splat/native/*.inc)
MODELS := $(VENV)/.models
VIDEO ?=
AUDIO ?=
PROFILE ?= draft

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint stack clean

help:  ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt $(NATIVE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(MODELS): $(STAMP) core/models/registry.py
	$(BIN)/likeness models fetch --all
	@touch $@

setup: $(MODELS)  ## The virtual environment, the native build and the model files (the other targets do it by themselves)

demo: setup  ## Adapt a clip through the platform and render two lip-synced videos (VIDEO=clip.mp4 AUDIO=speech.wav for your own)
	$(BIN)/likeness demo --profile $(PROFILE) $(if $(VIDEO),--video '$(VIDEO)') $(foreach a,$(AUDIO),--audio '$(a)')

test: setup  ## The whole test suite (real-clip tests run where ../shared/clips exists)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest  # torch's barriers spin: two of its threads on a busy machine cost tenfold

lint: setup  ## Style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

stack: $(STAMP)  ## Postgres, Valkey and SeaweedFS (S3) on this machine, for `likeness serve` in production mode
	$(BIN)/likeness stack

clean:  ## Remove what the targets above made
	rm -rf $(VENV) build core/splat/native/lib out
