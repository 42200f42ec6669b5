# What was found, in words, and the page to browse it by.
# Inputs:  tables and figures
# Outputs: findings.md, tables/findings.csv, tables/models.csv, index.html, results/index.html


rule write_findings:
    """Answers to the study's questions, every sentence made from the tables."""
    input:
        tables=[f"<results>/tables/{name}.csv" for name in FOUND_IN],
    output:
        page="<results>/findings.md",
        table="<results>/tables/findings.csv",
        models="<results>/tables/models.csv",
    log:
        "<logs>/write_findings.log",
    benchmark:
        "<benchmarks>/write_findings.tsv"
    conda:
        ENVIRONMENT
    resources:
        **asks("write_findings"),
    params:
        names=FOUND_IN,
        run=CONFIG.run,
        limits=CONFIG.findings.model_dump(),
        study=study("palette"),
        code=code("write_findings"),
    script:
        "../scripts/write_findings.py"


rule write_index:
    """A page of the run: findings, models, figures, links."""
    input:
        tables=[f"<results>/tables/{name}.csv" for name in FOUND_IN],
        findings="<results>/findings.md",
        figures=[drawn(figure, *CONFIG.figures.formats, "csv") for figure in FIGURES],
    output:
        page="<results>/index.html",
    log:
        "<logs>/write_index.log",
    benchmark:
        "<benchmarks>/write_index.tsv"
    conda:
        ENVIRONMENT
    resources:
        **asks("write_index"),
    params:
        names=FOUND_IN,
        config=CONFIG.model_dump(),
        study=study("palette"),
        templates=folder_digest(ROOT / "entity_mech/reporting/templates"),
        code=code("write_index"),
    script:
        "../scripts/write_index.py"
