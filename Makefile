# `make demo` and `make test` set up all they need on a fresh Linux machine with Python 3.11 or newer.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit integration e2e faults check bench generate manifests pictures lock image sbom run clean

help:  ## What can be made
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP)  ## .venv with the gpufleet command and all tools
$(STAMP): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "gpufleet needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 1; }
	@echo "==> $(VENV): locked dependencies"
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module is missing: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## A cluster on this machine, a model served, a gang trained
	@$(BIN)/gpufleet sandbox demo

test: setup  ## All tests: unit, integration, e2e
	@$(BIN)/python tools/run_tests.py unit integration e2e

unit integration e2e: setup  ## One layer of the tests
	@$(BIN)/python tools/run_tests.py $@

faults: setup  ## The operator killed before and after each of its writes
	@$(BIN)/python -m pytest tests/integration/faults -q -s

check: setup  ## Generated files, format, lint, types, import contracts
	@$(BIN)/python tools/generate_crds.py --check
	@$(BIN)/python tools/generate_protos.py --check
	@$(BIN)/python tools/generate_chart_docs.py --check
	@$(BIN)/python tools/generate_metrics_docs.py --check
	@$(BIN)/python tools/generate_api_docs.py --check
	@$(BIN)/python -m tools.generate_dashboards --check
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: bench-sandbox bench-scale bench-job bench-start bench-serving bench-tuner bench-tuned bench-batcher bench-forecast bench-autoscaling bench-autoscaling-real bench-mig bench-training bench-admission bench-gangs bench-dashboards bench-top  ## All benchmarks
bench-%: setup
	@$(BIN)/python -m tests.bench.$(subst -,_,$*)

generate: setup  ## CRDs, protobuf modules, the chart's README, pages of metrics and fields, dashboards
	@$(BIN)/python tools/generate_crds.py
	@$(BIN)/python tools/generate_protos.py
	@$(BIN)/python tools/generate_chart_docs.py
	@$(BIN)/python tools/generate_metrics_docs.py
	@$(BIN)/python tools/generate_api_docs.py
	@$(BIN)/python -m tools.generate_dashboards

manifests: setup  ## Plain YAML for kustomize and GitOps, from the chart
	@$(BIN)/python tools/generate_manifests.py

pictures: setup  ## Pictures of the dashboards, with Debian's chromium and Grafana's components from npm
	@$(BIN)/python -m tests.pictures.draw

lock: setup  ## Newest versions that pyproject.toml allows, with hashes and without addresses
	@for extra in "" dev; do \
	  $(BIN)/uv pip compile -q pyproject.toml --extra nvml $${extra:+--extra $$extra} --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-annotate --upgrade -o requirements$${extra:+-$$extra}.txt || exit 1; done

image: setup  ## The container image, with whatever engine is on PATH
	@engine=$$(command -v docker || command -v podman || command -v nerdctl) || { echo "no container engine on PATH"; exit 1; }; \
	$$engine build -t gpufleet.dev/gpufleet:$$($(BIN)/python -c 'import gpufleet; print(gpufleet.__version__)') .

sbom: setup  ## dist/gpufleet.cdx.json: what the image's lock file holds, as CycloneDX
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --short-PURLs --of JSON \
	  --output-file dist/gpufleet.cdx.json requirements.txt

run: setup  ## The operator outside the cluster, against $KUBECONFIG
	@GPUFLEET_HTTP_HOST=127.0.0.1 GPUFLEET_POLL_AGENTS=$${GPUFLEET_POLL_AGENTS:-true} $(BIN)/gpufleet operator

clean:  ## The sandbox, the venv and caches of this folder (binaries and images stay in the user's cache)
	@[ ! -x $(BIN)/gpufleet ] || $(BIN)/gpufleet sandbox down
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
