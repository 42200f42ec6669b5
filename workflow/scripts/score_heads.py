"""Scores of every head of a model in every search, from their effects prompt by prompt."""

from pathlib import Path

import pandas as pd

from _run import job
from entity_mech.engine.stage import stamp_of
from entity_mech.files import write_table
from entity_mech.methods.head_scores import joined_table
from entity_mech.methods.searches import searches_from
from entity_mech.models.loading import read_model

with job(snakemake):
    info = read_model(Path(snakemake.input.model))
    expected = stamp_of(info, snakemake.input.tokens)
    tables = []
    for search in searches_from(snakemake.params.searches):
        files = [file for file in snakemake.input.effects if Path(file).parent.name == search.name]
        tables.append(joined_table(search, files, expected, info["n_layers"], info["n_heads"]))
    write_table(snakemake.output.scores, pd.concat(tables, ignore_index=True).drop(columns="candidate"))
