# `make backtest` and `make test` set up all they need in .venv by themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: backtest test benchmark clean

backtest: $(VENV)/.installed
	$(RUN) run_backtest.py

test: $(VENV)/.test-installed
	$(RUN) -m pytest -n 2

benchmark: $(VENV)/.installed
	$(RUN) benchmarks/backtest.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python setup.cfg pyproject.toml
	@echo "installing into $(VENV) ..."
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[fast,gmm,optimize,live]'
	@touch $@

$(VENV)/.test-installed: $(VENV)/.installed
	@echo "installing what the tests need into $(VENV) ..."
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[fast,gmm,optimize,cluster,live,test]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info
