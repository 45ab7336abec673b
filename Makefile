# The few commands a contributor needs. `make demo` and `make test` work on a fresh Debian or Ubuntu with Python >= 3.11.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help demo test lint types contract check bench clean
.DELETE_ON_ERROR:

help:
	@echo "make demo   three ways to align a small model, head to head, from feedback to report"
	@echo "make test   the whole test suite"
	@echo "make check  lint, types and the order of imports"
	@echo "make bench  DPO beside TRL's, in speed and memory; takes a while"
	@echo "make clean  remove what was built; .venv and runs stay"

demo: $(VENV)/installed-test
	$(BIN)/alignzoo bench benchmarks/quick.toml --jobs 2

# Two at once, a file at a time: most tests keep one core busy. `make test WORKERS=0` runs them one after the other.
WORKERS := 2

test: $(VENV)/installed-test
	env -u OMP_NUM_THREADS HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/installed-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/installed-lint
	$(BIN)/mypy

contract: $(VENV)/installed-lint
	$(BIN)/lint-imports

check: lint types contract

bench: $(VENV)/installed-peers
	$(BIN)/python benchmarks/peers/dpo.py

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find core plugins tests -name __pycache__ -prune -exec rm -rf {} +

# Debian keeps ensurepip in python3-venv. Without it the environment is made without pip, and the system's pip fills it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "alignzoo needs Python 3.11 or newer; name one: make PYTHON=python3.12 test" >&2; exit 1; }
	@{ $(PYTHON) -m venv $(VENV) || $(PYTHON) -m venv --clear --without-pip $(VENV); } > /dev/null 2>&1 \
	    && { $(BIN)/python -m pip --version || $(PYTHON) -m pip --version; } > /dev/null 2>&1 \
	    || { rm -rf $(VENV); echo "Python cannot make an environment here; run: sudo apt-get install python3-venv" >&2; exit 1; }

PIP = $(shell $(BIN)/python -m pip --version > /dev/null 2>&1 && echo $(BIN)/python -m pip \
	|| echo $(PYTHON) -m pip --python $(BIN)/python)

# Installed again only when what is to be installed has changed.
$(VENV)/installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e ".[$*]"
	@touch $@
