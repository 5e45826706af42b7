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
.PHONY: help setup demo test lint stack sanitize clean

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

# Which sanitizers, and the instruction set of the build that they watch (empty on arm64: NEON).
SANITIZE ?= address,undefined
SANITIZE_FLAGS ?= $(if $(filter x86_64 amd64,$(shell uname -m)),-march=x86-64-v3)
SANITIZED := build/sanitize
DRIVEN := $(patsubst %.cpp,$(SANITIZED)/%.o,$(wildcard core/splat/native/*.cpp) tests/native/drive.cpp)

# -O0 compiles in a third of the time, and the fuzzed sizes are small.
$(DRIVEN): $(SANITIZED)/%.o: %.cpp $(wildcard core/splat/native/*.h) $(SANITIZED)/flags
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O0 -g1 -Wno-psabi $(SANITIZE_FLAGS) -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -c $< -o $@

# Other flags than last time: everything is compiled again.
$(SANITIZED)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CXX) $(SANITIZE) $(SANITIZE_FLAGS)' | cmp -s - $@ || echo '$(CXX) $(SANITIZE) $(SANITIZE_FLAGS)' > $@
FORCE:

sanitize: $(DRIVEN)  ## Every kernel on fuzzed sizes under AddressSanitizer and UBSan (SANITIZE=thread: ThreadSanitizer)
	$(CXX) -fsanitize=$(SANITIZE) $(DRIVEN) -lpthread -o $(SANITIZED)/drive
	$(SANITIZED)/drive 25

clean:  ## Remove what the targets above made
	rm -rf $(VENV) build core/splat/native/lib out
