"""Which tokens a model needs heads at, and which sets of tokens are enough."""

from _run import job
from entity_mech.engine.stage import load_means, open_model, read_prompts_like
from entity_mech.files import read_table, write_table
from entity_mech.methods.role_map import role_map, sets_of
from entity_mech.task.task import Task

with job(snakemake):
    given, task = snakemake.input, Task.of(snakemake.params.options["task"])
    decoder, info = open_model(given.model, snakemake.params.machine["device"])
    table = role_map(
        decoder,
        read_prompts_like(given.tokens, given.ablation),
        load_means(decoder, info, given.means, given.ablation),
        read_table(given.behaviour)["correct"].to_numpy(dtype=bool),
        needed=(*task.segment_roles, *task.query_roles),
        sets=sets_of(task.roles),
    )
    write_table(snakemake.output.roles, table)
