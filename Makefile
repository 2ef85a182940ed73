# Every target sets up .venv by itself; it is redone only when pyproject.toml or constraints.txt change.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test lint bench docs setup

demo: setup  ## a language model forecasts a real SGD problem, beside baselines and the truth
	$(BIN)/descentcast demo

test: setup  ## every test, the slow ones and those with real models too (fetched once into the cache)
	$(BIN)/python -m pytest

lint: setup  ## style, format, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

bench: setup  ## the engine: operations beside the machine's rate, densities, kernels, growth, second calls
	$(BIN)/python benchmarks/speed.py

docs: setup  ## the examples in docstrings and pages run, the links between pages lead somewhere
	$(BIN)/python -m pytest --doctest-glob='*.md' src README.md docs tests/test_architecture.py

setup: $(READY)

# torch first, so that the build which pip is pointed at is taken. PyDTMC and pygpcca, oracles of the tests, pin old
# releases of what they depend on: they come without their dependencies, which the rest brings; docrep is for pygpcca.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]' docrep
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps PyDTMC pygpcca
	touch $(READY)
