"""Merge a PEFT adapter into its base, check the model, let it answer a probe, and write model.json."""

from pathlib import Path

from _run import downloads, job
from entity_mech.engine.clean import run_logits
from entity_mech.engine.guards import check_guards
from entity_mech.models.prepare import prepare_model
from entity_mech.models.sources import build_sources, located

with job(snakemake):
    source = build_sources(snakemake.params.models)[snakemake.wildcards.model]
    folder = Path(snakemake.output.model).parent
    prepare_model(located(source, downloads(snakemake)), folder, run_logits, prove=check_guards)
