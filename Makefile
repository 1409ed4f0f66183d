# Everything that is done with this repository. `make help` lists it.
#
# Needs make, Python 3.11 or later, and a package index; check-proto and setup-node also need node and npm.
# PYTHON chooses the interpreter that the environments are made of, PYTEST_ARGS goes to every run of pytest (`-n 0`: one
# test after the other), BENCH_ARGS to the benchmark.

PYTHON ?= python3
PYTEST_ARGS ?=
BENCH_ARGS ?=
# Where check, test and test-strict have their environment. Another one for another Python:
# make check test PYTHON=/usr/bin/python3 VENV=.venv-debian
VENV ?= .venv
# The revision that the protocol must stay compatible with. Default: origin/main, else HEAD. Empty: lint only.
PROTO_BASE ?= $(shell git rev-parse --verify --quiet origin/main 2>/dev/null || \
	git rev-parse --verify --quiet HEAD 2>/dev/null)

BUF := npx --yes --loglevel=error --prefer-offline --cache .cache/npm @bufbuild/buf@1.75.0
NODE_EXAMPLE := examples/node
SOURCES := $(wildcard streamcell tests scripts examples)
PIP_VERSION := 26.3
# Groups of pyproject.toml.
BENCH_PEERS := peer-nvflare peer-flight
# The core's dependencies at their lower bounds.
OLDEST = $(shell sed -nE 's/^ +"(crc32c|cryptography|grpcio|protobuf|pyOpenSSL)>=([0-9.]+).*/\1==\2/p' pyproject.toml)
# Tests wait most of their time, so there are more processes than processors: tests/conftest.py says how many. They get
# tests in twos, since some take a thousand times as long as others.
PYTEST := -m pytest -n auto --maxschedchunk 2
# Each module by itself, and the laws of the house.
UNIT = $(VENV)/bin/python $(PYTEST) tests/core tests/shell -m 'not slow' $(PYTEST_ARGS)
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --retries 10

# Makes or updates the environment $(1).
make-venv = $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or \
	sys.exit("Python 3.11 or later is needed, and this is " + sys.version.split()[0] + ": set PYTHON to another")' && \
	$(PYTHON) -m venv $(1)

# The same, with a pip that knows dependency groups.
define new-venv
$(call make-venv,$(1))
$(1)/bin/python $(PIP_INSTALL) pip==$(PIP_VERSION)
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-buf setup-node demo fmt unit test test-strict test-oldest check bench bench-quick proto check-proto clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.stamp .venv-proto/.stamp ## make the environments (every target does it when needed)

setup-buf: ## fetch the protocol's linter
	@$(BUF) --version >/dev/null

setup-node: $(NODE_EXAMPLE)/node_modules/.stamp ## fetch the packages of the cell in JavaScript (examples/node)

# What it installs is in package-lock.json. Bounded in time, so that a test may call it.
$(NODE_EXAMPLE)/node_modules/.stamp: $(NODE_EXAMPLE)/package.json $(NODE_EXAMPLE)/package-lock.json
	npm ci --prefix $(NODE_EXAMPLE) --cache .cache/npm --prefer-offline --loglevel=error --no-audit --no-fund \
		--ignore-scripts --fetch-retries=1 --fetch-timeout=10000
	@touch $@

$(VENV)/.stamp: pyproject.toml
	$(call new-venv,$(VENV))
	$(VENV)/bin/python $(PIP_INSTALL) --editable '.[cli,daemon,tls,bench,dev]'
	@touch $@

.venv-oldest/.stamp: pyproject.toml
	$(call new-venv,.venv-oldest)
	.venv-oldest/bin/python $(PIP_INSTALL) --editable '.[cli,daemon,tls,bench,dev]' $(OLDEST)
	@touch $@

.venv-proto/.stamp: pyproject.toml
	$(call new-venv,.venv-proto)
	.venv-proto/bin/python $(PIP_INSTALL) --group proto
	@touch $@

# A peer that cannot be installed is tried again the next time, and named as missing by the benchmark.
.venv-bench/.stamp: pyproject.toml
	$(call new-venv,.venv-bench)
	.venv-bench/bin/python $(PIP_INSTALL) --editable '.[bench]'
	@touch $@
	@for peer in $(BENCH_PEERS); do \
		.venv-bench/bin/python $(PIP_INSTALL) --group $$peer || \
			{ echo "$$peer cannot be installed: the benchmark goes on without"; rm -f $@; }; \
	done

# The package and what it needs, and nothing of what the tests need: whoever tries it first should not wait.
.venv-demo/.stamp: pyproject.toml
	@echo 'making an environment in .venv-demo'
	@$(call make-venv,.venv-demo)
	@echo 'installing streamcell and the packages that it needs'
	@.venv-demo/bin/python $(PIP_INSTALL) --editable .
	@touch $@

demo: .venv-demo/.stamp ## show what streamcell does, in less than a minute
	@echo 'sending real files and an array to a cell in another process'
	@.venv-demo/bin/python scripts/demo.py

fmt: $(VENV)/.stamp ## format, and mend what lint can mend
	$(VENV)/bin/ruff format --quiet .
	$(VENV)/bin/ruff check --fix --quiet .

unit: $(VENV)/.stamp ## the laws, and the fast tests of core and shell
	$(UNIT)

check: $(VENV)/.stamp .venv-proto/.stamp ## format, lint, types, generated code, laws, core and shell, 200 simulated histories
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/ruff check --quiet .
	$(VENV)/bin/mypy $(SOURCES)
	.venv-proto/bin/python scripts/generate_proto.py --check
	$(UNIT)
	PYTHON=$(VENV)/bin/python scripts/simulate --seeds 0..199

test: $(VENV)/.stamp ## the whole test suite, with coverage
	$(VENV)/bin/python $(PYTEST) tests --cov=streamcell --cov-branch --cov-fail-under=90 $(PYTEST_ARGS)
	$(VENV)/bin/coverage report --include='streamcell/protocol/**' --skip-covered --fail-under=100

test-strict: $(VENV)/.stamp ## the whole test suite, with every warning an error and Python's own checks on
	$(VENV)/bin/python -X dev -W error $(PYTEST) tests $(PYTEST_ARGS)

test-oldest: .venv-oldest/.stamp ## the whole test suite, on the oldest supported dependencies
	.venv-oldest/bin/python $(PYTEST) tests $(PYTEST_ARGS)

bench: .venv-bench/.stamp ## the full benchmark; BENCH_ARGS=--document puts it into the documentation
	.venv-bench/bin/python -m scripts.bench $(BENCH_ARGS)

bench-quick: .venv-bench/.stamp ## the benchmark in less than three minutes
	.venv-bench/bin/python -m scripts.bench --quick $(BENCH_ARGS)

proto: .venv-proto/.stamp ## write streamcell/v1 anew from protos/
	.venv-proto/bin/python scripts/generate_proto.py

check-proto: export BUF_CACHE_DIR := $(CURDIR)/.cache/buf
check-proto: ## lint the protocol and compare it with PROTO_BASE
	$(BUF) lint
	@if [ -n '$(PROTO_BASE)' ] && git cat-file -e '$(PROTO_BASE):protos' 2>/dev/null; then \
		set -e; \
		rm -rf .cache/proto-base; mkdir -p .cache/proto-base; \
		git archive '$(PROTO_BASE)' protos | tar -x -C .cache/proto-base; \
		echo 'comparing with $(PROTO_BASE)'; \
		$(BUF) breaking --against .cache/proto-base/protos; \
	else \
		echo 'no earlier protocol to compare with'; \
	fi

clean: ## remove everything that make made
	rm -rf .venv .venv-* .cache $(NODE_EXAMPLE)/node_modules build dist htmlcov .coverage .coverage.* \
		.hypothesis .mypy_cache .pytest_cache .ruff_cache
	find streamcell tests scripts $(wildcard examples) -name __pycache__ -type d -prune -exec rm -rf {} +
