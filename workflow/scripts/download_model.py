"""Fetch a model from the hub, into the hub's cache, and record where it lies."""

from pathlib import Path

from _run import job
from entity_mech.models.download import download

with job(snakemake):
    options = snakemake.params.options
    download(
        options["path"],
        Path(snakemake.output.record),
        revision=options["revision"],
        trust_remote_code=options["trust_remote_code"],
    )
