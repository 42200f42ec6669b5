# make run            the default study; CONFIG=config/mine.yaml for another, TARGET=prune_circuits for one stage or file,
#                     CORES=8, ARGS="-n" for more of Snakemake's options
# make status         what of it is done, what would run, about how long
# make test           all checks and tests         make lint       the checks alone
# make slurm-test     the study on a real SLURM that starts on this machine (root and Debian's packages; ten minutes at most)
# make faults         the study killed at ten random moments, and the other faults of one machine
# make cluster        a study on a SLURM cluster: make cluster CONFIG=config/paper.yaml; see docs/clusters.md
# make docs           the default study, its figures and findings copied into docs/
# make demo-models    train the shipped models again
# make planted        models whose circuit is known, the workflow on each, and docs/planted.md from what it found
# make bench          the engine against the literal method; ARGS=--publish writes the tables of docs/performance.md
# make clean          remove results and caches
#
# Each makes the environment (.venv) first when it is missing or its lists of packages changed.

PYTHON ?= python3
CORES ?= all
CONFIG ?=
TARGET ?=
ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
PLUGIN := .venv/slurm
# The target stands first: Snakemake takes what follows --configfile for more config files.
# CONFIG and CORES reach the shell as variables of its own, whatever characters they hold.
export CONFIG CORES
# Snakemake needs a home folder: where there is none (a container with a user of its own), it is in this folder.
export HOME := $(or $(HOME),$(shell getent passwd "$$(id -u)" | cut -d: -f6),$(CURDIR)/.snakemake)
CONFIGFILE := $(if $(CONFIG),--configfile "$$CONFIG")
SNAKEMAKE := $(BIN)/snakemake $(TARGET) --cores "$$CORES" $(CONFIGFILE) $(ARGS)

.PHONY: run status test lint slurm-test faults cluster docs demo-models bench planted clean environment

run: $(READY)
	$(SNAKEMAKE)

status: $(READY)
	@$(BIN)/python workflow/status.py $(CONFIGFILE)

test: lint
	$(BIN)/pytest

slurm-test: $(PLUGIN)/.ready
	tests/slurm/install.sh
	PYTHONPATH=$(CURDIR)/$(PLUGIN) timeout --signal=INT --kill-after=30 600 $(BIN)/pytest tests/slurm --durations=0

faults: $(READY)
	MOMENTS=10 $(BIN)/pytest tests/faults --durations=0

cluster: $(PLUGIN)/.ready
	PYTHONPATH=$(CURDIR)/$(PLUGIN) $(BIN)/snakemake $(TARGET) --workflow-profile workflow/profiles/slurm \
		$(CONFIGFILE) $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/mypy
	$(BIN)/python -m entity_mech.config.generate check

docs: run
	rm -rf docs/figures
	mkdir -p docs/figures
	cp results/tiny/figures/*.png docs/figures/
	for family in circuits path_patching attention head_effects; do \
		for figure in results/tiny/figures/$$family/*.png; do cp $$figure docs/figures/$${family}_$$(basename $$figure); done; \
	done
	cp results/tiny/findings.md docs/findings.md

demo-models: $(READY)
	$(BIN)/python -m entity_mech.models.demo.family --out demo_models/tiny

bench: $(READY)
	$(BIN)/python benchmarks $(ARGS)

planted: $(READY)
	$(BIN)/python -m entity_mech.models.planted --out resources/planted
	for study in planted planted_hard; do \
		$(BIN)/snakemake --cores "$$CORES" --configfile config/$$study.yaml $(ARGS) || exit 1; \
	done
	$(BIN)/python -m entity_mech.reporting.planted results/planted results/planted_hard --page docs/planted.md

clean:
	rm -rf results .snakemake .pytest_cache .mypy_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

environment: $(READY)

# Snakemake's plugin for SLURM has a folder of its own: where it can be imported and no controller answers, every start
# of Snakemake waits ten seconds.
$(PLUGIN)/.ready: $(READY)
	rm -rf $(PLUGIN)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(PLUGIN) -c constraints.txt \
		snakemake-executor-plugin-slurm snakemake-executor-plugin-slurm-jobstep
	touch $@

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@
