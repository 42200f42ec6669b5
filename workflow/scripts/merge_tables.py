"""Put tables of several models below each other, with a column that says which model a row is about."""

import pandas as pd

from _run import job
from entity_mech.files import read_table, write_table

with job(snakemake):
    tables = []
    for model, path in zip(snakemake.params.models, snakemake.input.parts, strict=True):
        table = read_table(path)
        if "model" not in table:
            table.insert(0, "model", model)
        tables.append(table)
    write_table(snakemake.output.table, pd.concat(tables, ignore_index=True))
