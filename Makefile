# Every target sets up what it needs; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.seqloom-ready
TRAIN := $(VENV)/.seqloom-train
AIRFLOW := .venv-airflow/.seqloom-ready
EVENTS ?= 100000
STEPS ?= 200
DEMO ?= demo
MODEL ?= models:/next-item@champion
OUT ?= runs/rebuilt
SIZES ?= 1000000 4000000

.PHONY: help doctor setup setup-train airflow airflow-demo demo pictures rebuild test test-long lint format types status zip bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

doctor:  ## is this machine ready? Java, Python, memory, disk, .venv, jars, and how to mend what is off
	@python=$$(command -v "$(PYTHON)" || command -v python3) || { echo "no $(PYTHON) and no python3 here: install Python 3.11 (Debian: apt-get install python3.11-venv)" >&2; exit 1; }; \
	"$$python" -m pipelines.doctor

setup: $(READY)  ## .venv with the exact pins and Delta's jars

setup-train: $(TRAIN)  ## the same with torch and all that training needs

$(READY): pyproject.toml conf/constraints.txt pipelines/setup_jars.py pipelines/packages.py
	@PYTHON=$(PYTHON) VENV=$(VENV) EXTRAS=dev bash .ci/setup
	@touch $@

$(TRAIN): pyproject.toml conf/constraints.txt pipelines/setup_jars.py pipelines/packages.py
	@PYTHON=$(PYTHON) VENV=$(VENV) EXTRAS=dev,train bash .ci/setup
	@touch $(READY) $@

airflow: $(AIRFLOW)  ## .venv-airflow, Airflow in an environment of its own

$(AIRFLOW): .ci/setup_airflow conf/constraints-airflow.txt
	@PYTHON=$(PYTHON) bash .ci/setup_airflow
	@touch $@

airflow-demo: setup-train airflow  ## Airflow at work on generated events, for you to look at (PORT=8080)
	@DEMO=$(DEMO) bash airflow/demo.sh

demo: setup-train  ## generated events with known truth to tables, models and scores (EVENTS=100000 STEPS=200)
	@. $(BIN)/activate && EVENTS=$(EVENTS) STEPS=$(STEPS) DEMO=$(DEMO) bash .ci/demo

pictures: setup-train  ## the README's pictures, of what make demo left (needs Chromium)
	@. $(BIN)/activate && python benchmarks/pictures.py --demo $(DEMO)

rebuild: setup-train  ## a registered model again from its lineage, and what differs (MODEL=models:/NAME@champion OUT=DIR)
	@. $(BIN)/activate && python -m training.registry rebuild --model "$(MODEL)" --out "$(OUT)"

test: setup-train airflow  ## linters, types, import contracts and every test but the long ones
	@. $(BIN)/activate && ruff check . && ruff format --check . && mypy && lint-imports --no-cache
	@. $(BIN)/activate && pytest -q -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-long: setup-train airflow  ## the long checks as well
	@. $(BIN)/activate && pytest -q

bench: setup-train  ## the same work by seqloom, Polars, DuckDB, Spark windows, RePlay: a table and a plot (SIZES="1000000 4000000")
	@for peer in peers replay; do \
	    [ -x .venv-$$peer/bin/python ] || $(PYTHON) -m venv .venv-$$peer; \
	    UV_SYSTEM_CERTS=1 $(BIN)/uv pip install -q --python .venv-$$peer/bin/python -r benchmarks/requirements-$$peer.txt \
	        || .venv-$$peer/bin/python -m pip install -q -r benchmarks/requirements-$$peer.txt; \
	done
	@. $(BIN)/activate && python benchmarks/bench.py --events $(SIZES)

lint: setup-train  ## ruff, types and import contracts only
	@. $(BIN)/activate && ruff check . && ruff format --check . && mypy && lint-imports --no-cache

format: setup-train  ## rewrite the code in the project's style
	@. $(BIN)/activate && ruff check --fix . ; . $(BIN)/activate && ruff format .

status: setup  ## what the demo's warehouse holds and how its last runs ended
	@. $(BIN)/activate && python jobs/status.py --warehouse $(DEMO)/warehouse

zip: setup  ## dist/seqloom.zip, for spark-submit --py-files on a cluster
	@. $(BIN)/activate && python -c "import zipfile, pathlib; pathlib.Path('dist').mkdir(exist_ok=True); \
	z = zipfile.PyZipFile('dist/seqloom.zip', 'w'); \
	[z.write(p) for d in ('features', 'pipelines', 'jobs') for p in sorted(pathlib.Path(d).rglob('*.py'))]; z.close()"
	@echo dist/seqloom.zip

clean:  ## remove what the demo and the tools left (not .venv)
	@rm -rf $(DEMO) dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
