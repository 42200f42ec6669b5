"""Accuracy of every model with its interval; a model that hardly tracks entities is warned about."""

import pandas as pd

from _run import job
from entity_mech.files import read_table, write_table
from entity_mech.methods.behaviour import behaviour_summary

with job(snakemake):
    options = snakemake.params.options
    tables = [
        behaviour_summary(model, read_table(path))
        for model, path in zip(options["models"], snakemake.input.behaviour, strict=True)
    ]
    write_table(snakemake.output.table, pd.concat(tables, ignore_index=True))
