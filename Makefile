# Slipway. `make` lists the targets.

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
BENCH := launch registry unpack transfers build

.DEFAULT_GOAL := help
.PHONY: help setup setup-test up down doctor test test-unit test-system test-e2e soak check format migrations lock bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what `make up` needs (idempotent)
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh test

up: setup ## start everything, prove it with one container, print the URL; Ctrl-C stops it, containers go on
	@$(PYTHON) scripts/up.py $(ARGS)

down: ## stop everything, containers too; data stays
	@$(PYTHON) scripts/down.py $(ARGS)

doctor: setup ## what this machine offers, line by line, and how to mend what is missing
	@$(PYTHON) manage.py doctor

test: setup-test ## all checks and all tests, as CI runs them
	@scripts/test.sh

test-unit: setup-test ## the tests that need no root
	@$(PYTEST) -m "not system and not e2e and not soak"

test-system: setup-test ## the tests that need root and this kernel
	@$(PYTEST) -m "system and not soak"

test-e2e: setup-test ## the tests that drive a whole process set, browser included
	@$(PYTEST) -m "e2e and not soak"

soak: setup-test ## the long versions
	@$(PYTEST) -m soak --timeout 3600 -s

check: setup-test ## every static check
	@scripts/check.sh

format: setup-test ## write Python and templates in the project's format
	@$(PYTHON) -m ruff check --fix-only --quiet . && $(PYTHON) -m ruff format --quiet .
	@$(PYTHON) -m djlint --reformat --quiet templates || true

migrations: setup-test ## write the migrations that the models need
	@$(PYTHON) manage.py makemigrations

lock: ## write requirements/*.txt anew from pyproject.toml
	@scripts/lock.sh

bench: setup-test ## measure beside docker, podman, buildah, docker-registry; BENCH=registry for one; docs/performance.md
	@set -e; for each in $(BENCH); do $(PYTHON) benchmarks/$$each.py $(ARGS); done

clean: ## remove what setup and tests made in this checkout
	@rm -rf .venv node_modules static/vendor .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
