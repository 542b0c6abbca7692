# make demo   sets up an environment and runs a real sweep
# make test   sets up an environment and runs every check
# make quick  the same without the slow tests, in under three minutes
# make web    builds the report's page from web/ into ztxexp/report/static, which is committed
# make gallery  types the commands of docs/gallery.md anew
# make bench  measures it beside ztxexp 1.0.3 and others, into docs/performance.md
# All need nothing but Python (3.10 or newer), pip and git. PYTHON=python3.12 chooses another one.

PYTHON ?= python3
DEMO := .venv-demo
TEST := .venv-test
EXAMPLES := $(wildcard plugins-example/*/pyproject.toml)
BENCH := .venv-bench

.PHONY: demo test quick programs lint web gallery bench clean

demo: $(DEMO)/ready
	$(DEMO)/bin/python examples/digits_sweep.py

test: lint programs
	ZTXEXP_REQUIRE_ALL=1 $(TEST)/bin/python -m pytest -n 3 --dist worksteal

# A browser and LaTeX, for the tests that look at pages.
programs:
	sh tests/programs.sh

quick: lint
	$(TEST)/bin/python -m pytest -n 3 --dist worksteal -m "not slow"

lint: $(TEST)/ready
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy
	$(TEST)/bin/lint-imports

$(DEMO)/ready: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --editable . scikit-learn
	touch $@

# torch first and by exact version: it may have been stored as a build without CUDA, and what depends
# on torch is then content with it.
# The example plugins are installed as anybody's packages would be, each with its entry points.
$(TEST)/ready: pyproject.toml $(EXAMPLES)
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/python -m pip install --quiet torch==2.13.0
	$(TEST)/bin/python -m pip install --quiet --editable ".[dev]" \
		$(EXAMPLES:%/pyproject.toml=--editable %)
	touch $@

web: $(TEST)/ready
	cd web && PATH="$(CURDIR)/$(TEST)/bin:$$PATH" npm ci --no-audit --no-fund && \
		PATH="$(CURDIR)/$(TEST)/bin:$$PATH" node build.js

gallery: $(TEST)/ready
	$(TEST)/bin/python docs/transcripts.py docs/gallery.md

bench: $(BENCH)/ready
	$(BENCH)/bin/python benchmarks/compare.py --old $(BENCH)-old/bin/python --write docs/performance.md

$(BENCH)/ready: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --editable . exca signac mlflow
	$(PYTHON) -m venv $(BENCH)-old
	$(BENCH)-old/bin/python -m pip install --quiet ztxexp==1.0.3
	touch $@

clean:
	rm -rf $(DEMO) $(TEST) $(BENCH) $(BENCH)-old results_digits
