# make demo: install and generate text. make test: everything that CI checks. make bench: how fast it is.
# make docs-pictures: remake every picture and table in the docs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CACHE := $(CURDIR)/.numba_cache
export NUMBA_CACHE_DIR ?= $(CACHE)
# The tests that compare with torch and transformers run on the Python of CI; elsewhere they are skipped, unless
# EXTRAS=test,parity asks for them (on Linux, PyPI's torch may bring several gigabytes of CUDA).
EXTRAS ?= $(shell $(PYTHON) -c 'import sys; print("test,parity" if sys.version_info[:2] == (3, 11) else "test")')

.PHONY: demo test lint unit bench docs-pictures clean

demo: $(VENV)/.installed $(CACHE)/.fresh
	$(BIN)/snngen generate "ROMEO:" --tokens 400 --seed 1

test: lint unit

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.tested $(CACHE)/.fresh
	$(BIN)/python -m pytest

bench: $(VENV)/.installed $(CACHE)/.fresh
	$(BIN)/python benchmarks/generate.py
	$(BIN)/python benchmarks/ticks.py

docs-pictures: $(VENV)/.installed $(CACHE)/.fresh
	$(BIN)/python docs/remake.py

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "installing snngen into $(VENV), once"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	@echo "installing what the checks need ($(EXTRAS)) into $(VENV), once"
	$(PIP) install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

# Numba does not see that a kernel which another file calls has changed: drop its cache when any has.
$(CACHE)/.fresh: $(wildcard snngen/kernels/*.py)
	@rm -rf $(CACHE) && mkdir -p $(CACHE) && touch $@

clean:
	rm -rf $(VENV) $(CACHE) build dist *.egg-info
