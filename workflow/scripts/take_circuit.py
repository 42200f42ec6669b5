"""Take a given circuit for a model's."""

from pathlib import Path

import pandas as pd

from _run import job, warn
from entity_mech.files import read_table, write_table
from entity_mech.methods.circuits import write_circuit
from entity_mech.methods.given import CIRCUIT_COLUMNS, chain_groups, given_circuit
from entity_mech.methods.searches import searches_from
from entity_mech.methods.sense import GIVEN_EMPTY, empty_groups
from entity_mech.models.loading import read_model
from entity_mech.progress import log
from entity_mech.provenance import file_digest

with job(snakemake):
    info, given, scores = read_model(Path(snakemake.input.model)), snakemake.input.given, snakemake.input.scores
    chain, size = chain_groups(searches_from(snakemake.params.searches)), (info["n_layers"], info["n_heads"])
    circuit, threshold = given_circuit(given, info["name"], chain, size, read_table(scores) if scores else None)
    if snakemake.params.threshold is not None:
        threshold = snakemake.params.threshold
    source = {"file": given, "digest": file_digest(given)}
    log(f"the circuit is that of {given}, digest {source['digest']}")
    empty = [f"group {one.letter}" for one in circuit.groups if not one.heads]
    warn(empty_groups(info["name"], empty, GIVEN_EMPTY))
    write_circuit(snakemake.output.circuit, circuit, threshold=threshold, provenance={"given": source})
    row = (*source.values(), circuit.size)
    write_table(snakemake.output.record, pd.DataFrame([row], columns=CIRCUIT_COLUMNS))
