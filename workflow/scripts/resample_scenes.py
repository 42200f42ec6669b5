"""How often each head of a model is a candidate, and kept, over resampled scenes."""

from pathlib import Path

from _run import job
from entity_mech.engine.stage import stamp_of
from entity_mech.files import read_checked_json, read_table, write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.head_scores import join_effects, scored_rows
from entity_mech.methods.pruning import PruningOptions
from entity_mech.methods.stability import candidate_counts, kept_counts, read_judged, scene_weights, stability
from entity_mech.models.loading import read_model
from entity_mech.task.seeds import seed_for
from entity_mech.task.tokens import read_prompts

with job(snakemake):
    given, options = snakemake.input, snakemake.params.options
    info, circuit, scores = read_model(given.model), read_circuit(given.circuit), read_table(given.scores)
    effects = {}
    for search in scores["search"].unique():
        files = [file for file in given.effects if Path(file).parent.name == search]
        joined = join_effects(files, stamp_of(info, given.tokens), info["n_layers"], info["n_heads"])
        effects[search] = joined["corrupted"].relative
    discovery = read_prompts(given.tokens, "clean").scene[scored_rows(given.effects[0])]
    pruning, judged = read_judged(given.judged)
    draws = options["resamples"]
    weights = [
        scene_weights(scene, draws, seed_for(options["seed"], "stability", split))
        for split, scene in (("discovery", discovery), ("pruning", pruning))
    ]
    found = candidate_counts(scores, effects, weights[0], read_checked_json(given.circuit)["keep"])
    kept = kept_counts(judged, weights[1], PruningOptions(**options["pruning"]))
    write_table(snakemake.output.stability, stability(circuit, found, kept, draws))
