# Everything runs in .venv, which each target sets up as far as it needs. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
# Installed by itself and first, so that pip looks for no other build of it.
TORCH := torch==2.13.0
PROTOS := $(wildcard protos/cellwire/v1/*.proto)
# What coverage may not fall below, in percent: of the server's core here, of everything in pyproject.toml.
CORE := */server/engine/*,*/server/session/*,*/server/state/*,*/server/batch/*
CORE_COVERAGE := 99

.DEFAULT_GOAL := help
.PHONY: help demo serve test crash format lint types protos protos-check protos-release bench bench-report gpu gpu-hour model clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

.venv/bin/python:
	$(PYTHON) -m venv .venv && .venv/bin/pip --version || { rm -rf .venv; exit 1; }

# server: ONNX Runtime for GPUs and CPUs, which is large; cpu: the small one without GPUs.
SERVER ?= server

.venv/.server: .venv/bin/python pyproject.toml
	@echo "Installs the daemon: some 300 MB where there is ONNX Runtime for GPUs, 70 MB with SERVER=cpu."
	$(BIN)/pip install --disable-pip-version-check -e '.[$(SERVER)]'
	@touch $@

.venv/.dev: .venv/.server
	$(BIN)/pip install $(TORCH)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[$(SERVER),training,dev]'
	@touch $@

.venv/.bench: .venv/.dev
	$(BIN)/pip install -q --disable-pip-version-check -e '.[$(SERVER),training,dev,bench]'
	@touch $@

.venv/.gpu: .venv/.dev
	$(BIN)/pip install -q --disable-pip-version-check -e '.[gpu,training,dev]'
	@touch $@

demo: .venv/.server  ## start the daemon on its built-in model and stream text from it
	@$(BIN)/python clients/demo.py

serve: .venv/.server  ## run the daemon until Ctrl-C
	@$(BIN)/cellwire serve

test: .venv/.dev lint types protos-check  ## set-up, linters, types, proto checks, tests, coverage
	$(BIN)/pytest --cov --cov-report= --cov-fail-under=0
	@echo; echo "Coverage of the server's core:"
	@$(BIN)/coverage report --include='$(CORE)' --fail-under=$(CORE_COVERAGE)
	@echo; echo "Coverage of everything:"
	@$(BIN)/coverage report

# How often `make crash` kills the daemon.
N ?= 1000

crash: .venv/.dev  ## kill the daemon 1,000 times, or N=..., and check every session; into runs/crash.json
	$(BIN)/python -m tests.crash --kills $(N)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: .venv/.dev  ## format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/.dev
	$(BIN)/mypy

protos: .venv/.dev  ## generate the stubs beside the protos
	cd protos && ../$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. \
	  --plugin=protoc-gen-mypy=../$(BIN)/protoc-gen-mypy --mypy_out=. \
	  --plugin=protoc-gen-mypy_grpc=../$(BIN)/protoc-gen-mypy_grpc --mypy_grpc_out=. \
	  $(PROTOS:protos/%=%)

protos-check: .venv/.dev
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code --path cellwire
	cd protos && ../$(BIN)/buf breaking --against released.binpb
	$(BIN)/python protos/check_fresh.py

protos-release: .venv/.dev  ## make today's contract the one that must not be broken
	cd protos && ../$(BIN)/buf build -o released.binpb

bench: .venv/.bench  ## run every benchmark (half an hour) into runs/bench.json
	@mkdir -p runs
	$(BIN)/python -m tests.bench all --out runs/bench.json

# Where python and cellwire are: an environment of another name is taken as it is, without network.
GPU_BIN ?= $(BIN)

gpu: $(if $(filter $(BIN),$(GPU_BIN)),.venv/.gpu)  ## test and measure on a CUDA card, into runs/gpu.json
	@mkdir -p runs
	CELLWIRE_GPU=1 $(GPU_BIN)/python -m pytest -m gpu --timeout 600
	$(GPU_BIN)/python -m tests.bench gpu --out runs/gpu.json

gpu-hour: $(if $(filter $(BIN),$(GPU_BIN)),.venv/.gpu)  ## the first hour on a card: every step, into runs/gpu-first-hour.txt
	$(GPU_BIN)/python -m tests.gpu.first_hour

bench-report: .venv/.bench  ## write the figures and plots of runs/bench.json and gpu.json into docs/
	$(BIN)/python -m tests.bench.report runs/bench.json
	@test ! -f runs/gpu.json || $(BIN)/python -m tests.bench.report runs/gpu.json

model: .venv/.dev  ## train and export the built-in model (an hour and a half on two cores)
	$(BIN)/cellwire train exporter/corpora/austen.txt --recipe exporter/recipes/austen-1.toml \
	  --out runs/austen-1
	$(BIN)/cellwire train exporter/corpora/austen.txt --recipe exporter/recipes/austen-2.toml \
	  --start-from runs/austen-1 --out runs/austen-2
	$(BIN)/cellwire train exporter/corpora/austen.txt --recipe exporter/recipes/austen-3.toml \
	  --start-from runs/austen-2 --out runs/austen-3
	$(BIN)/cellwire export runs/austen-3 server/cellwire/model_file/austen.onnx

clean:  ## remove the environment and every cache
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
