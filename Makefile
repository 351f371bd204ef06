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
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Two stages, so that the demo needs only what a gateway needs.
$(VENV)/.server: requirements/server.txt requirements/build.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/server.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.server requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
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
	$(BIN)/pytest --numprocesses 2 --cov=claude_grpc.codec --cov=claude_grpc.upstream --cov=claude_grpc.rpc.status --cov-branch --cov-report=term-missing tests/codec tests/upstream tests/rpc

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

.PHONY: proto
proto: $(VENV)/.dev ## Make the Python stubs from the protos
	rm -f $(STUBS)/*_pb2*
	$(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=service --mypy_out=quiet:service $(PROTOS)
	$(BIN)/python -m grpc_tools.protoc -Iprotos --grpc_python_out=service --mypy_grpc_out=quiet:service $(SERVICES)

.PHONY: golden
golden: $(VENV)/.dev ## Write the golden files anew
	$(BIN)/pytest --quiet tests/golden tests/codec --update-golden
