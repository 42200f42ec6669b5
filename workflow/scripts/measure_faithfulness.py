"""Run a circuit, its ceiling and random circuits of its size in a model."""

import pandas as pd

from _run import job, warn
from entity_mech.engine.stage import load_means, open_model, read_prompts_like
from entity_mech.files import read_table, write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.faithfulness import faithfulness, with_other_means
from entity_mech.methods.sense import at_chance, low_ceiling, no_better_than_random
from entity_mech.task.seeds import seed_for

with job(snakemake):
    given, options = snakemake.input, snakemake.params.options
    decoder, info = open_model(given.model, snakemake.params.machine["device"])
    circuit, answers = read_circuit(given.circuit), read_table(given.behaviour)["predicted"].to_numpy()
    prompts = read_prompts_like(given.tokens, given.ablation)
    found = faithfulness(
        decoder,
        prompts,
        load_means(decoder, info, given.means, given.ablation, snakemake.params.by_role),
        circuit,
        answers,
        draws=options["random_circuits"],
        seed=seed_for(options["seed"], "faithfulness", snakemake.wildcards.circuit),
    )
    others = [found.summary]
    for name, by_role in snakemake.params.other_ablation.items():
        means = load_means(decoder, info, given.means, given.ablation, by_role)
        others.append(with_other_means(decoder, prompts, means, circuit, answers, name))
    kinds, limits = found.summary.groupby("kind").first(), snakemake.config["findings"]
    own, names = kinds.loc["circuit"], (snakemake.wildcards.circuit, decoder.name)
    warn(
        at_chance(*names, own["accuracy_low"], 1 / snakemake.config["task"]["boxes"]),
        no_better_than_random(*names, own["random_below"], (found.summary["kind"] == "random").sum(), limits),
        low_ceiling(*names, kinds.loc["ceiling", "faithfulness"], limits["low_ceiling"]),
    )
    write_table(snakemake.output.faithfulness, pd.concat(others, ignore_index=True))
    write_table(snakemake.output.answers, found.answers)
