# make run            the default study; CONFIG=config/mine.yaml for another, CORES=8, ARGS="-n" for more of Snakemake's options
# make status         what of it is done, what would run, about how long
# make test           all checks and tests         make lint       the checks alone
# make demo-models    train the shipped models again
# make bench          the engine against the literal method
# make clean          remove results and caches
#
# Each makes the environment (.venv) first when it is missing or its lists of packages changed.

PYTHON ?= python3
CORES ?= all
CONFIG ?=
ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) $(if $(CONFIG),--configfile $(CONFIG)) $(ARGS)

.PHONY: run status test lint demo-models bench clean environment

run: $(READY)
	$(SNAKEMAKE)

status: $(READY)
	@$(BIN)/python workflow/status.py $(if $(CONFIG),--configfile $(CONFIG))

test: lint
	$(BIN)/pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/mypy
	$(BIN)/python -m entity_mech.config_files check

demo-models: $(READY)
	$(BIN)/python -m entity_mech.models.demo.family --out demo_models/tiny

bench: $(READY)
	$(BIN)/python benchmarks/path_patching.py

clean:
	rm -rf results .snakemake .pytest_cache .mypy_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

environment: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@
