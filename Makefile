# make demo   sets up an environment and runs a real sweep
# make test   sets up an environment and runs every check
# Both need nothing but Python (3.10 or newer), pip and git. PYTHON=python3.12 chooses another one.

PYTHON ?= python3
DEMO := .venv-demo
TEST := .venv-test

.PHONY: demo test lint clean

demo: $(DEMO)/ready
	$(DEMO)/bin/python examples/digits_sweep.py

test: lint
	$(TEST)/bin/python -m pytest -n 2

lint: $(TEST)/ready
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy
	$(TEST)/bin/mypy tests/typing/api.py
	$(TEST)/bin/lint-imports

$(DEMO)/ready: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --editable . scikit-learn
	touch $@

# torch first and by exact version: it may have been stored as a build without CUDA, and what depends
# on torch is then content with it.
$(TEST)/ready: pyproject.toml
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/python -m pip install --quiet torch==2.13.0
	$(TEST)/bin/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(DEMO) $(TEST) results_digits
