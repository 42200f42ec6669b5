"""Run a model's circuit, and its searches again, on prompts in other words."""

import pandas as pd

from _run import job
from entity_mech.engine.stage import open_model, read_ablation_prompts, read_prompts_like
from entity_mech.files import read_checked_json, read_table, write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.searches import options_from, searches_from
from entity_mech.methods.wordings import COLUMNS, HEAD_COLUMNS, Chosen, Reworded, try_wording
from entity_mech.progress import log
from entity_mech.task.tokens import read_prompts

with job(snakemake):
    given, params = snakemake.input, snakemake.params
    decoder, _ = open_model(given.model, params.machine["device"])
    chosen = Chosen(read_circuit(given.circuit), read_table(given.scores), read_checked_json(given.circuit)["keep"])
    searches, options = searches_from(params.searches), options_from(params.options, params.machine)
    score_all = params.options["prompts"] == "all"
    rows, heads = [], []
    files = zip(given.evaluation, given.ablation, given.discovery, strict=True)
    for (name, task), (evaluation, ablation, discovery) in zip(params.wordings.items(), files, strict=True):
        log(f"wording {name}: {task['template']} / {task['query']}")
        prompts = Reworded(
            read_prompts_like(evaluation, ablation),
            read_ablation_prompts(ablation),
            *(read_prompts(discovery, kind) for kind in ("clean", "corrupted")),
            params.by_role,
        )
        tried = try_wording(decoder, prompts, chosen, searches, options, score_all)
        rows.append({"wording": name, "template": task["template"], "query": task["query"], **tried.summary})
        heads.append(tried.heads.assign(wording=name))
    write_table(snakemake.output.wordings, pd.DataFrame(rows).reindex(columns=COLUMNS))
    write_table(snakemake.output.heads, pd.concat(heads).reindex(columns=HEAD_COLUMNS))
