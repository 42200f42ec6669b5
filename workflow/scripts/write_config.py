"""Write the config of the run with all its defaults."""

from _run import job
from entity_mech.provenance import write_resolved_config

with job(snakemake):
    write_resolved_config(snakemake.output.config, snakemake.params.config)
