# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: bench-data check clean demo format help test

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

demo: $(VENV)/.installed ## start the template's server, infer, train, infer with what was trained
	$(BIN)/python scripts/demo.py

test: $(VENV)/.installed-dev ## all tests
	$(BIN)/python -m pytest --numprocesses 2

check: $(VENV)/.installed-dev ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## put the sources into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-data: $(VENV)/.installed $(VENV)/.caikit ## data objects and data reading beside caikit 0.29.0
	$(BIN)/python benchmarks/data.py --caikit $(VENV)/caikit/bin/python

clean: ## remove what was installed and cached
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kitfox needs Python 3.11 or newer; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[client]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[client,dev]'
	@touch $@

# A peer to measure against. pip's resolver does not end on it; uv's does.
$(VENV)/.caikit: $(VENV)/.created
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv venv --quiet --python $(BIN)/python $(VENV)/caikit
	$(BIN)/uv pip install --quiet --python $(VENV)/caikit/bin/python \
	    'caikit[runtime-grpc,runtime-http]==0.29.0' 'numpy<2'
	@touch $@
