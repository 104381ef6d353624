# Two commands on a fresh machine with Python 3.10-3.13: `make train` and `make test`. The first call creates .venv.

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed

# The package with GloVe needs Python 3.11; on 3.10 the word vectors are trained on the captions instead.
WORDS = $$($(BIN)/python -c 'import sys; print("" if sys.version_info >= (3, 11) else "--set word_vectors.source=skip-gram --set word_vectors.extra_words=0")')

.PHONY: help install train demo test test-benchmarks lint docs format constraints clean

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{printf "%-24s %s\n", $$1, $$2}'
	@echo '  PYTHON=python3.12 chooses the interpreter; ARGS="..." is passed on, e.g. make test ARGS=tests/test_text.py'

install: $(INSTALLED)  ## create .venv and install everything, once

train: $(INSTALLED)  ## train on OpenMoji, evaluate, write the report and both encoders to runs/openmoji
	$(BIN)/python -m itembed_tf train $(WORDS) $(ARGS)

demo: $(INSTALLED)  ## open a search page of what `make train` trained
	$(BIN)/python -m itembed_tf demo runs/openmoji $(ARGS)

test: $(INSTALLED)  ## run the tests
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not benchmark" $(ARGS)

test-benchmarks: $(INSTALLED)  ## run the slowest benchmarks in their --quick form
	$(BIN)/python -m pytest -q -n $(WORKERS) -m benchmark $(ARGS)

lint: $(INSTALLED)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy itembed_tf $(wildcard export serving benchmarks)

docs: $(INSTALLED)  ## build the documentation as a site, in build/site
	$(BIN)/python -m pip install -q --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python docs/build_site.py

format: $(INSTALLED)  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: $(INSTALLED)  ## update constraints.txt from setup.py, for all Python versions at once
	$(BIN)/python -m pip install -q uv
	UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip compile --upgrade --universal --python-version 3.10 --extra all \
		--no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make constraints' \
		--quiet --output-file constraints.txt setup.py

clean:  ## remove .venv and the files of tools; runs/ stays
	rm -rf .venv build dist itembed_tf.egg-info .pytest_cache .mypy_cache .ruff_cache

$(INSTALLED): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || { \
		echo "itembed_tf needs Python 3.10 to 3.13, and $(PYTHON) is: $$($(PYTHON) --version 2>&1)."; \
		echo "Give another one, for example: make $(or $(MAKECMDGOALS),install) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt-get install python3-venv, then run make again."; exit 1; }
	@echo "Installing TensorFlow and the other packages into .venv: once, a few minutes, about 3 GB."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[all]'
	@touch $(INSTALLED)
