"""Answer the study's questions from its tables."""

from _run import job, warn
from entity_mech.files import read_table, write_table, write_text
from entity_mech.reporting.findings.finding import findings_table
from entity_mech.reporting.findings.limits import Limits
from entity_mech.reporting.findings.own_circuit import HIDDEN
from entity_mech.reporting.findings.page import find, findings_markdown, summary_table
from entity_mech.reporting.study import Study
from entity_mech.reporting.tables import models_table

with job(snakemake):
    study = Study.from_param(snakemake.params.study)
    tables = {
        name: read_table(path) for name, path in zip(snakemake.params.names, snakemake.input.tables, strict=True)
    }
    limits = Limits.of(snakemake.params.limits)
    findings = find(study, tables, limits)
    warn(*(one.sentence for one in findings if one.about == HIDDEN))
    write_text(snakemake.output.page, findings_markdown(study, findings, snakemake.params.run, limits))
    write_table(snakemake.output.table, findings_table(findings))
    write_table(snakemake.output.models, models_table(study, tables, summary_table(study, findings)))
