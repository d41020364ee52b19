PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo docs test test-slow lint types bench clean

demo: .venv/installed
	$(BIN)/python -m experiments.width_scaling --quick --out results/demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir results/site

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

bench: .venv/installed
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv results
