"""Which discovery prompts a model answers rightly, so that all shards of its searches score the same ones."""

import pandas as pd

from _run import job
from entity_mech.engine.memory import path_patching_batch
from entity_mech.engine.stage import open_model
from entity_mech.files import write_table
from entity_mech.methods.path_patching import answered_rightly
from entity_mech.task.tokens import read_prompts

with job(snakemake):
    decoder, _ = open_model(snakemake.input.model, snakemake.params.machine["device"])
    prompts = read_prompts(snakemake.input.tokens, "clean")
    batch = snakemake.params.machine["batch_size"] or path_patching_batch(decoder, prompts.ids.shape[1])
    right = answered_rightly(decoder, prompts, batch)
    write_table(snakemake.output.answers, pd.DataFrame({"prompt": range(len(right)), "correct": right}))
