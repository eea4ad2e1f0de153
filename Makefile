# Everything starts from a bare clone with Python 3.11 and make; uv is brought from the package index.
PYTHON ?= python3
UV     := .tools/bin/uv
RUN    := .venv/bin

noted = | tee $(or $(wildcard .tests),/dev)/$(if $(wildcard .tests),$(1).log,null)   # what `test` ends with
# Each run of a tier has a folder of its own for what its tests write: pytest would clear up after earlier ones, and fails
# where it cannot, as where one was killed and something is mounted there still.
in_its_own = root=$$(mktemp -d $${TMPDIR:-/tmp}/tests-$(1)-XXX) && trap "rm -rf $$root" EXIT && PYTEST_DEBUG_TEMPROOT=$$root
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-runtime test-tools test-containers test-load faults test-cluster load bench bench-quick bench-audit bench-image bench-check check fix lock docs clean

help:  ## Show what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/.ready .venv-runtime/.ready  ## Make .venv with the bedside command in it

demo: setup  ## Package, serve and ask the ICU example, then see a flipped byte refused
	@$(RUN)/python examples/demo.py

test: setup check  ## Every check and every test that this machine can run
	@rm -rf .tests && mkdir .tests; status=0; \
	$(MAKE) --no-print-directory -k -j2 -Oline test-containers test-runtime test-tools || status=$$?; \
	$(MAKE) --no-print-directory test-load || status=$$?; \
	grep -hE "^(FAILED|ERROR) " .tests/*.log; tail -qn 1 .tests/*.log; exit $$status

test-runtime: setup  ## The runtime's tests, in an environment that holds only the runtime
	$(call in_its_own,runtime) .venv-runtime/bin/python -m pytest runtime/tests --durations 10 $(call noted,runtime)

test-tools: setup  ## All tests with the model libraries present, but those of containers and of load
	$(call in_its_own,tools) $(RUN)/python -m pytest -m "not (containers or podman or load)" --durations 20 $(call noted,tools)

test-containers: setup  ## The tests that build images and run them: one process, so that they share what is built
	$(call in_its_own,containers) $(RUN)/python -m pytest tests -m "containers or podman" --durations 10 $(call noted,containers)

test-load: setup  ## Overload, slow clients and rolling restarts, in short: alone on the machine
	$(call in_its_own,load) $(RUN)/python -m pytest tests/load $(call noted,load)

faults: setup  ## The long form of every fault test, twenty minutes: kill -9, injected system calls, power cuts, every flipped bit
	BEDSIDE_FAULTS=long $(RUN)/python -m pytest tests/faults runtime/tests/audit --timeout 7200

test-cluster: setup  ## The scenarios of deploying on a real cluster: KUBECONFIG, BEDSIDE_TEST_REGISTRY (host:port), BEDSIDE_TEST_BASE
	$(RUN)/python -m pytest tests/deploying/test_cluster.py --timeout 1800

load: setup  ## Ten times the sustainable load, 500 slow clients, 100,000 requests through rolling restarts; notes the figures
	BEDSIDE_LOAD=long BEDSIDE_LOAD_FIGURES=docs/benchmarks/load.json $(RUN)/python -m pytest tests/load --timeout 7200

bench: setup  ## The field side by side, twenty minutes on a machine left alone; writes docs/benchmarks.md (needs wrk)
	$(RUN)/python -m benchmarks --write $(BENCH)

bench-quick: setup  ## A part of the field, one model, in two minutes, printed (needs wrk)
	$(RUN)/python -m benchmarks --quick $(BENCH)

bench-image: setup  ## Images beside the guide's, BentoML's and MLflow's: time, size, what moves; writes docs/benchmarks-images.md (needs podman, mmdebstrap)
	$(RUN)/python -m benchmarks.images

bench-check: setup  ## How long `bedside check` takes, beside reading alone and beside trivy; writes docs/benchmarks-check.md
	$(RUN)/python -m benchmarks.check

bench-audit: setup  ## Durable records a second, verification, a start behind 1 GB of log: writes docs/benchmarks-audit.md
	$(RUN)/python -m benchmarks.audit

check: setup  ## Lint, types, floors, generated files, dependency count
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/python -m scripts.reference --check
	$(RUN)/python -m scripts.rules_reference --check
	$(RUN)/python -m bedside.spec.schema --check
	$(RUN)/python -m bedside.audit.schema --check
	$(RUN)/python -m scripts.dependency_count

fix: setup  ## Apply the formatter and the linter's safe fixes
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

docs: setup  ## Write docs/reference, docs/rules and the schemas from the code
	$(RUN)/python -m scripts.reference
	$(RUN)/python -m scripts.rules_reference
	$(RUN)/python -m bedside.spec.schema
	$(RUN)/python -m bedside.audit.schema

lock: $(UV)  ## Resolve requirements.lock again from both pyproject.toml files (UPGRADE=--upgrade: newest versions)
	$(UV) pip compile pyproject.toml runtime/pyproject.toml --group dev -q $(UPGRADE) \
	  --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-package bedside --no-emit-package bedside-runtime -o requirements.lock

clean:  ## Remove the environments
	rm -rf .venv .venv-runtime .tools

$(UV):
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check "$$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.lock)"

.venv/.ready: requirements.lock pyproject.toml runtime/pyproject.toml $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python .venv/bin/python --no-deps -e runtime -e .
	@touch $@

# The runtime's own closure, cut out of the one lock; nothing of the tools, no model library.
.venv-runtime/.ready: requirements.lock pyproject.toml runtime/pyproject.toml $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-runtime
	$(UV) pip compile --quiet runtime/pyproject.toml --group pyproject.toml:test --constraints requirements.lock \
	  --generate-hashes --no-header --no-annotate -o .venv-runtime/requirements.lock
	$(UV) pip sync --quiet --python .venv-runtime/bin/python --require-hashes .venv-runtime/requirements.lock
	$(UV) pip install --quiet --python .venv-runtime/bin/python --no-deps -e runtime
	@touch $@
