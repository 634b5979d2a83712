# `make backtest` and `make test` set up all they need in .venv by themselves.
PYTHON ?= $(shell .ci/find-python)
VENV := .venv
RUN := $(VENV)/bin/python
PIP := -m pip install --quiet --disable-pip-version-check --editable

.PHONY: backtest test lint mutants check-all benchmark clean

backtest: $(VENV)/.installed
	$(RUN) run_backtest.py

test: $(VENV)/.test-installed
	$(RUN) -m pytest -n 2

lint: $(VENV)/.lint-installed
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

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

$(VENV)/.installed: $(VENV)/bin/python setup.cfg pyproject.toml
	@echo "installing into $(VENV) ..."
	@$(RUN) $(PIP) '.[fast,gmm,optimize,live]'
	@touch $@

$(VENV)/.test-installed: $(VENV)/.installed
	@echo "installing what the tests need into $(VENV) ..."
	@$(RUN) $(PIP) '.[fast,gmm,optimize,cluster,live,test]'
	@touch $@

$(VENV)/.lint-installed: $(VENV)/.test-installed
	@echo "installing the linters into $(VENV) ..."
	@$(RUN) $(PIP) '.[fast,gmm,optimize,cluster,live,test,lint]'
	@touch $@

clean:
	rm -rf $(VENV) .venvs build *.egg-info
