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

.PHONY: abuse bench bench-data bench-embedding bench-peers check clean conformance conformance-short demo format fuzz \
    help model-traffic test
