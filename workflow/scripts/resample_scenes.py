"""How often each head of a model is a candidate, and kept, over resampled scenes."""

from _run import job
from entity_mech.files import read_json, read_table, write_table
from entity_mech.methods.circuits import read_circuit
from entity_mech.methods.pruning import PruningOptions
from entity_mech.methods.stability import (
    candidate_counts,
    kept_counts,
    read_effects,
    read_judged,
    scene_weights,
    stability,
)
from entity_mech.task.seeds import seed_for

with job(snakemake):
    given, options = snakemake.input, snakemake.params.options
    circuit, scores = read_circuit(given.circuit), read_table(given.scores)
    searches = list(scores["search"].unique())
    discovery, effects = read_effects(given.effects, searches)
    pruning, judged = read_judged(given.judged)
    draws = options["resamples"]
    weights = [
        scene_weights(scene, draws, seed_for(options["seed"], "stability", split))
        for split, scene in (("discovery", discovery), ("pruning", pruning))
    ]
    found = candidate_counts(scores, effects, weights[0], read_json(given.circuit)["keep"])
    rule = PruningOptions(options["threshold"], options["knockout_fraction"])
    kept = kept_counts(judged, weights[1], rule)
    write_table(snakemake.output.stability, stability(circuit, found, kept, draws))
