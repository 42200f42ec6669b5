"""Heads of every circuit, before and after pruning, as one table."""

from pathlib import Path

import pandas as pd

from _run import job
from entity_mech.files import read_checked_json, write_table
from entity_mech.reporting.tables import circuit_table

with job(snakemake):
    tables = []
    for model, path in zip(snakemake.params.models, snakemake.input.circuits, strict=True):
        table = circuit_table(read_checked_json(Path(path)))
        table.insert(0, "model", model)
        tables.append(table)
    write_table(snakemake.output.table, pd.concat(tables, ignore_index=True))
