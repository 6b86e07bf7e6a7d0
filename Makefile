# make demo: install and generate text. make test: everything that CI checks. make bench: how fast it is.
# make docs: the site. make docs-pictures: remake every picture and table in the docs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CACHE := $(CURDIR)/.numba_cache
export NUMBA_CACHE_DIR ?= $(CACHE)
# The tests that compare with torch and transformers run on the Python of CI; elsewhere they are skipped, unless
# EXTRAS=test,parity asks for them (on Linux, PyPI's torch may bring several gigabytes of CUDA).
EXTRAS ?= $(shell $(PYTHON) -c 'import sys; print("test,parity,docs" if sys.version_info[:2] == (3, 11) else "test")')

# Libraries that tests compare with and nothing depends on. Without their dependencies: norse asks for a torchvision that
# it does not use and that does not load beside the CPU build of torch.
PEERS := snntorch norse nirtorch sanafe torchao brevitas dependencies neurobench tonic importRosbag expelliarmus cffconvert

# Lava runs on Python 3.10 only: where there is one, its tests get an environment of their own; elsewhere they are skipped.
PYTHON310 ?= $(firstword $(wildcard $(shell pyenv root 2>/dev/null)/versions/3.10.*/bin/python3.10) $(shell command -v python3.10))
LAVA := $(if $(PYTHON310),$(VENV)/lava/.installed)

# Rivals that the benchmarks measure against, in an environment of their own: llama.cpp is compiled for this machine.
RIVALS := $(VENV)/peers
RESULTS := benchmarks/results

.PHONY: demo test lint gate unit bench docs docs-pictures clean

demo: $(VENV)/.installed $(CACHE)/.fresh
	$(BIN)/snngen generate "ROMEO:" --tokens 400 --seed 1

test: lint gate unit

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# mypy needs torch, which is not installed everywhere; and NumPy's types are older on Python 3.10
	if $(BIN)/python -c 'import sys, importlib.util as u; sys.exit(sys.version_info < (3, 11) or not u.find_spec("torch"))'; then $(BIN)/mypy; fi
	$(BIN)/lint-imports

unit: $(VENV)/.tested $(LAVA) $(CACHE)/.fresh
	$(BIN)/python -m pytest

# Fast kernels against plain ones in the same run: a ratio, not a time, so that a busy machine says the same.
gate: $(VENV)/.tested $(CACHE)/.fresh
	$(BIN)/python benchmarks/gate.py

# Everything in docs/speed.md, about half an hour on an idle machine; then the table.
bench: $(VENV)/.tested $(LAVA) $(RIVALS)/.installed $(CACHE)/.fresh
	$(BIN)/python benchmarks/llama.py --tokens 32 --rounds 3 --json $(RESULTS)/llama.json
	$(BIN)/python benchmarks/integrate_and_fire.py --rounds 3 --repeats 3 --threads 1 --json $(RESULTS)/integrate_and_fire.json
	$(BIN)/python benchmarks/unary.py --models stories260K --tokens 1 --rounds 1 --json $(RESULTS)/unary.json
	$(BIN)/python benchmarks/roofline.py --plot docs/pictures/speed_roofline.png --json $(RESULTS)/synapses.json
	$(BIN)/python benchmarks/memory.py --without-scipy --shapes 15M 110M 1.1B --json $(RESULTS)/memory.json
	$(BIN)/python benchmarks/generate.py --compilations 2 --json $(RESULTS)/generate.json
	$(BIN)/python benchmarks/growth.py --plot docs/pictures/speed_growth.png --json $(RESULTS)/growth.json
	$(BIN)/python benchmarks/gate.py --instructions --json $(RESULTS)/instructions.json
	$(BIN)/python benchmarks/ticks.py
	$(BIN)/python benchmarks/synapses.py
	$(BIN)/python benchmarks/stream.py --json $(RESULTS)/stream.json
	$(BIN)/python benchmarks/latency.py --beside 0 4 --json $(RESULTS)/latency.json
	$(BIN)/python docs/remake.py docs/speed.md docs/sensors.md docs/comparison.md

# The tests build the site too, without running its pages, and run each page.
docs: $(VENV)/.tested $(CACHE)/.fresh
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --builder html docs docs/_build/html
	$(BIN)/python docs/links.py

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

$(RIVALS)/.installed: benchmarks/peers/requirements.txt | $(VENV)/.installed
	@echo "installing rivals into $(RIVALS), once; llama.cpp takes minutes to compile"
	$(PYTHON) -m venv $(RIVALS)
	$(RIVALS)/bin/python -m pip --disable-pip-version-check install --quiet --requirement benchmarks/peers/requirements.txt
	@touch $@

# Numba does not see that a kernel which another file calls has changed: drop its cache when any has.
$(CACHE)/.fresh: $(wildcard snngen/kernels/*.py)
	@rm -rf $(CACHE) && mkdir -p $(CACHE) && touch $@

clean:
	rm -rf $(VENV) $(CACHE) build dist *.egg-info
