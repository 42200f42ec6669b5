"""Put the shards of a model's searches together: the scores of all heads in every search."""

from pathlib import Path

import pandas as pd

from _run import job
from entity_mech.engine.stage import stamp_of
from entity_mech.files import write_table
from entity_mech.methods.search_shards import join_table
from entity_mech.methods.searches import searches_from
from entity_mech.models.loading import read_model

with job(snakemake):
    info = read_model(Path(snakemake.input.model))
    expected = stamp_of(info, snakemake.input.tokens)
    tables = []
    for search in searches_from(snakemake.params.searches):
        files = [file for file in snakemake.input.shards if Path(file).parent.name == search.name]
        tables.append(join_table(search, files, expected, info["n_layers"], info["n_heads"]))
    write_table(snakemake.output.scores, pd.concat(tables, ignore_index=True).drop(columns="candidate"))
