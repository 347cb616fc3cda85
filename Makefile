# Everything a person or CI runs. Each target makes what it needs.
VENV ?= .venv
BIN = $(VENV)/bin
DATA ?= $(VENV)/shapes.zip
KIMG ?= 20
MINUTES ?= 2
# Two files of tests at a time, as many of them wait; the tests of a file share processes, one after the other.
BESIDE = -n 2 --dist loadfile
VERSION = $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)

SBOM = $(BIN)/cyclonedx-py requirements - --pyproject pyproject.toml --output-reproducible -o

.PHONY: up soak tools test test-faults test-fuzz test-large check check-ops docs pictures lock images sbom version
.PHONY: bench train-demo clean

up: $(VENV)/.installed  ## start the service here; Ctrl-C stops all of it
	@exec $(BIN)/vitgan up

test: $(VENV)/.installed-dev  ## all tests, with real processes
	@$(BIN)/pytest $(BESIDE) --no-loadscope-reorder

test-faults: $(VENV)/.installed-dev  ## processes killed, frozen and stopped, some minutes
	@$(BIN)/pytest $(BESIDE) -m faults

test-fuzz: $(VENV)/.installed-dev  ## some ten thousand bad inputs, a few minutes
	@$(BIN)/pytest -m fuzz

test-large: $(VENV)/.installed-dev  ## the largest images, some minutes
	@$(BIN)/pytest -m large -s

check: $(VENV)/.installed-dev  ## style, types, and the rooms' doors
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m scripts.openapi | $(BIN)/openapi-spec-validator --validation-errors all -

tools: $(VENV)/.installed-dev  ## what tests of viewers and clients need besides: Mirador, generators of clients
	@scripts/tools $(BIN)/python

check-ops: $(VENV)/.installed-ops  ## compose, Dockerfile, settings' documents, alerts and dashboards; no Docker needed
	@scripts/need promtool
	@scripts/check-ops $(BIN)
	@promtool check config docker/prometheus/prometheus.yml
	@promtool test rules docker/prometheus/tests.yml
	@$(BIN)/pytest -m ops

docs: $(VENV)/.installed-dev  ## docs/settings.md and .env.example, from the settings classes
	@$(BIN)/python -m scripts.settings

pictures: $(VENV)/.installed-dev  ## the documents' pictures of the shipped models, drawn anew
	@$(BIN)/python -m scripts.pictures

lock: $(VENV)/.installed-ops  ## docker/requirements, from pyproject.toml and constraints.txt
	@$(BIN)/python -m scripts.lock

images:  ## the images, with their version and commit on their labels; needs Docker
	@scripts/need docker
	@VERSION=$(VERSION) REVISION=$$(git rev-parse HEAD) docker compose build

sbom: $(VENV)/.installed-ops  ## build/sbom-IMAGE.json: the Python packages of each image, in CycloneDX's form
	@mkdir -p build
	@cat docker/requirements/api.txt | $(SBOM) build/sbom-api.json
	@{ cat docker/requirements/worker.txt; grep '^torch==' constraints.txt; } | $(SBOM) build/sbom-worker.json

version:  ## what pyproject.toml says, the one place
	@echo $(VERSION)

soak: $(VENV)/.installed-dev  ## random load under random faults, then an audit: make soak MINUTES=10 SEED=1
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.installed-dev  ## speed, beside what the machine can do
	@$(BIN)/python -m bench

train-demo: $(VENV)/.installed $(DATA)  ## a short training: make train-demo DATA=my.zip KIMG=100
	@$(BIN)/vitgan train $(DATA) --kimg $(KIMG) --tick 2 --out runs/demo --resume

$(VENV)/shapes.zip: $(VENV)/.installed
	@$(BIN)/vitgan dataset shapes $@ --count 1000

$(VENV)/.installed: constraints.txt pyproject.toml scripts/install
	@scripts/install $(VENV) local
	@touch $@

$(VENV)/.installed-dev: constraints.txt pyproject.toml scripts/install
	@scripts/install $(VENV) local,dev
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-ops: constraints.txt pyproject.toml scripts/install
	@scripts/install $(VENV) local,dev,ops
	@touch $@ $(VENV)/.installed $(VENV)/.installed-dev

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
