"""Which tokens a model needs heads at, and which sets of tokens are enough."""

from _run import job, warn
from entity_mech.engine.stage import load_means, open_model, read_prompts_like
from entity_mech.files import read_table, write_table
from entity_mech.methods.role_map import role_map, sets_of
from entity_mech.methods.sense import missing_searches
from entity_mech.task.roles import own_name
from entity_mech.task.task import Task

with job(snakemake):
    given, task = snakemake.input, Task.of(snakemake.params.options["task"])
    decoder, info = open_model(given.model, snakemake.params.machine["device"])
    table = role_map(
        decoder,
        read_prompts_like(given.tokens, given.ablation),
        load_means(decoder, info, given.means, given.ablation, snakemake.params.by_role),
        read_table(given.behaviour)["correct"].to_numpy(dtype=bool),
        needed=(*task.segment_roles, *task.query_roles),
        sets=sets_of(task.roles),
    )
    chain = {own_name(search["token"]) for search in snakemake.config["searches"]}
    warn(missing_searches(decoder.name, table, chain, snakemake.config["findings"]["alpha"]))
    write_table(snakemake.output.roles, table)
