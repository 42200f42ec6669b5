"""Take a given table for a model's scores, in the form that the searches would have written."""

from pathlib import Path

import pandas as pd

from _run import job, warn
from entity_mech.files import write_table
from entity_mech.methods.given import SCORES_COLUMNS, given_scores
from entity_mech.methods.searches import searches_from
from entity_mech.models.loading import read_model
from entity_mech.progress import log
from entity_mech.provenance import file_digest

with job(snakemake):
    info, given = read_model(Path(snakemake.input.model)), snakemake.input.given
    table, offsets = given_scores(
        given, searches_from(snakemake.params.searches), (info["n_layers"], info["n_heads"])
    )
    source = (given, file_digest(given))
    log(f"scores are those of {source[0]}, digest {source[1]}")
    for search, offset in offsets.items():
        if offset:
            warn(f"heads of the last layer score {offset:g} in {search}, not 0: this is taken off all scores there")
    rows = [(*source, search, offset) for search, offset in offsets.items()]
    write_table(snakemake.output.scores, table)
    write_table(snakemake.output.record, pd.DataFrame(rows, columns=SCORES_COLUMNS))
