"""Put the shards of a model's searches together: the scores of all heads in every search."""

from pathlib import Path

import pandas as pd

from _run import job
from entity_mech.engine.stage import stamp_of
from entity_mech.files import write_table
from entity_mech.methods.path_patching import score_table
from entity_mech.methods.search_shards import join_shards, scored_rows
from entity_mech.methods.searches import searches_from
from entity_mech.methods.stability import write_effects
from entity_mech.models.loading import read_model
from entity_mech.task.tokens import read_prompts

with job(snakemake):
    info = read_model(Path(snakemake.input.model))
    expected = stamp_of(info, snakemake.input.tokens)
    tables, relative = [], {}
    for search in searches_from(snakemake.params.searches):
        files = [file for file in snakemake.input.shards if Path(file).parent.name == search.name]
        effects = join_shards(files, expected, info["n_layers"], info["n_heads"])
        tables.append(score_table(search, effects, info["n_heads"]))
        relative[search.name] = effects["corrupted"].relative
    scene = read_prompts(snakemake.input.tokens, "clean").scene[scored_rows(snakemake.input.shards[0], expected)]
    write_table(snakemake.output.scores, pd.concat(tables, ignore_index=True).drop(columns="candidate"))
    write_effects(snakemake.output.effects, {**expected, "code": snakemake.params.code}, scene, relative)
