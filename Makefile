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

# Libraries that tests compare with and nothing depends on. Without their dependencies: norse asks for a torchvision that
# it does not use and that does not load beside the CPU build of torch.
PEERS := snntorch norse nirtorch sanafe torchao brevitas dependencies

# Lava runs on Python 3.10 only: where there is one, its tests get an environment of their own; elsewhere they are skipped.
PYTHON310 ?= $(firstword $(wildcard $(shell pyenv root 2>/dev/null)/versions/3.10.*/bin/python3.10) $(shell command -v python3.10))
LAVA := $(if $(PYTHON310),$(VENV)/lava/.installed)

.PHONY: demo test lint unit bench docs-pictures clean

demo: $(VENV)/.installed $(CACHE)/.fresh
	$(BIN)/snngen generate "ROMEO:" --tokens 400 --seed 1

test: lint unit

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# mypy needs torch, which is not installed everywhere; and NumPy's types are older on Python 3.10
	if $(BIN)/python -c 'import sys, importlib.util as u; sys.exit(sys.version_info < (3, 11) or not u.find_spec("torch"))'; then $(BIN)/mypy; fi
	$(BIN)/lint-imports

unit: $(VENV)/.tested $(LAVA) $(CACHE)/.fresh
	$(BIN)/python -m pytest

bench: $(VENV)/.installed $(CACHE)/.fresh
	$(BIN)/python benchmarks/generate.py
	$(BIN)/python benchmarks/ticks.py
	$(BIN)/python benchmarks/synapses.py
	$(BIN)/python benchmarks/stream.py
	$(BIN)/python benchmarks/latency.py

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
	$(if $(findstring parity,$(EXTRAS)),$(PIP) install --quiet --constraint constraints.txt --no-deps $(PEERS))
	@touch $@

$(VENV)/lava/.installed: constraints-lava.txt | $(VENV)/.installed
	@echo "installing Lava into $(VENV)/lava, once"
	$(PYTHON310) -m venv $(VENV)/lava
	$(VENV)/lava/bin/python -m pip --disable-pip-version-check install --quiet --requirement constraints-lava.txt
	@touch $@

# Numba does not see that a kernel which another file calls has changed: drop its cache when any has.
$(CACHE)/.fresh: $(wildcard snngen/kernels/*.py)
	@rm -rf $(CACHE) && mkdir -p $(CACHE) && touch $@

clean:
	rm -rf $(VENV) $(CACHE) build dist *.egg-info
