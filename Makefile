# `make backtest` and `make test` set up all they need in .venv by themselves.
PYTHON ?= $(shell .ci/find-python)
VENV := .venv
RUN := $(VENV)/bin/python
PIP := -m pip install --quiet --disable-pip-version-check
# Every package as it was tested, by the hash of its file; `make lock` writes the files anew.
LOCKED := $(PIP) --require-hashes -r
OURS := $(PIP) --no-deps --no-build-isolation --editable .

.PHONY: backtest test lint docs lock licences mutants check-all benchmark clean

backtest: $(VENV)/.installed
	$(RUN) run_backtest.py

test: $(VENV)/.test-installed
	@# Meanwhile one process compiles what several tests would compile each.
	@$(RUN) -m gridv4_bt compile > /dev/null & $(RUN) -m pytest -n 2

lint: $(VENV)/.test-installed
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

# The site is written to site/, a folder for each release beside those of earlier ones, and works offline.
docs: $(VENV)/.test-installed
	$(RUN) .ci/docs_pages.py
	$(RUN) -m mkdocs build --strict --quiet
	$(RUN) .ci/docs_versions.py site

lock: $(VENV)/bin/python
	.ci/lock

licences: $(VENV)/.installed
	$(RUN) .ci/licences.py > docs/licences.md

mutants: $(VENV)/.test-installed
	$(RUN) tests/mutants.py

# What is slower than `make test`: see .ci/check-all.
check-all: lint test
	.ci/check-all

benchmark: $(VENV)/.installed
	$(RUN) benchmarks/backtest.py

$(VENV)/bin/python:
	@test -n "$(PYTHON)"
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit(f"$(PYTHON) is Python {v.major}.{v.minor}; the project runs on 3.11, 3.12 and 3.13. Set PYTHON=/path/to/one.")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python setup.cfg pyproject.toml requirements.lock
	@echo "installing into $(VENV) ..."
	@$(RUN) $(LOCKED) requirements.lock
	@$(RUN) $(OURS)
	@touch $@

$(VENV)/.test-installed: $(VENV)/.installed requirements-dev.lock
	@echo "installing what the tests, the linters and the documentation need into $(VENV) ..."
	@$(RUN) $(LOCKED) requirements-dev.lock
	@touch $@

clean:
	rm -rf $(VENV) .venvs build *.egg-info
