"""Accuracy of nested circuits: of every search the k best heads."""

from _run import job
from entity_mech.engine.stage import load_means, open_model, read_prompts_like
from entity_mech.files import read_table, write_table
from entity_mech.methods.circuit_size import circuit_size

with job(snakemake):
    given = snakemake.input
    decoder, info = open_model(given.model, snakemake.params.machine["device"])
    curve, summary = circuit_size(
        decoder,
        read_prompts_like(given.tokens, given.ablation),
        load_means(decoder, info, given.means, given.ablation, snakemake.params.by_role),
        read_table(given.scores),
        read_table(given.behaviour)["predicted"].to_numpy(),
    )
    write_table(snakemake.output.curve, curve)
    write_table(snakemake.output.summary, summary)
