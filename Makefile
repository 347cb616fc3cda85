# Everything a person or CI runs. Each target makes what it needs.
VENV ?= .venv
BIN = $(VENV)/bin
DATA ?= $(VENV)/shapes.zip
KIMG ?= 20
MINUTES ?= 2

.PHONY: up soak test test-faults test-fuzz test-large check check-ops bench train-demo clean

up: $(VENV)/.installed  ## start the service here; Ctrl-C stops all of it
	@exec $(BIN)/vitgan up

test: $(VENV)/.installed-dev  ## all tests, with real processes
	@$(BIN)/pytest

test-faults: $(VENV)/.installed-dev  ## processes killed, frozen and stopped, some minutes
	@$(BIN)/pytest -m faults

test-fuzz: $(VENV)/.installed-dev  ## some ten thousand bad inputs, a few minutes
	@$(BIN)/pytest -m fuzz

test-large: $(VENV)/.installed-dev  ## the largest images, some minutes
	@$(BIN)/pytest -m large -s

check: $(VENV)/.installed-dev  ## style, types, and the rooms' doors
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check-ops: $(VENV)/.installed-dev  ## alerts and dashboards, by a real Prometheus (Debian: package prometheus)
	@promtool check config docker/prometheus/prometheus.yml
	@promtool test rules docker/prometheus/tests.yml
	@$(BIN)/pytest -m ops

soak: $(VENV)/.installed-dev  ## random load under random faults, then an audit: make soak MINUTES=10 SEED=1
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.installed-dev  ## speed, beside what the machine can do
	@$(BIN)/python -m bench

train-demo: $(VENV)/.installed $(DATA)  ## a short training: make train-demo DATA=my.zip KIMG=100
	@$(BIN)/vitgan train $(DATA) --preset vitgan-ti-32 --kimg $(KIMG) --tick 2 --out runs/demo --resume

$(VENV)/shapes.zip: $(VENV)/.installed
	@$(BIN)/vitgan dataset shapes $@ --count 1000

$(VENV)/.installed: constraints.txt pyproject.toml scripts/install
	@scripts/install $(VENV) local
	@touch $@

$(VENV)/.installed-dev: constraints.txt pyproject.toml scripts/install
	@scripts/install $(VENV) local,dev
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
