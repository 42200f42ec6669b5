# Tables of the whole run, and the figures of each stage, every one beside its own tidy table.
# Inputs:  the stages' per-model tables
# Outputs: tables/{table}.csv, figures/*.{png,pdf,csv}; and the target of every stage that has tables


rule merge_tables:
    """One table of the run from the stage's files, which differ in model, circuit or pair."""
    input:
        parts=lambda wildcards: [f"<results>/{part.file}" for part in MERGED[wildcards.table]],
    output:
        table="<results>/tables/{table}.csv",
    log:
        "<logs>/merge_tables/{table}.log",
    benchmark:
        "<benchmarks>/merge_tables/{table}.tsv"
    wildcard_constraints:
        table=one_of(MERGED),
    conda:
        ENVIRONMENT
    resources:
        **asks("merge_tables"),
    params:
        models=lambda wildcards: [part.model for part in MERGED[wildcards.table]],
        code=code("merge_tables"),
    script:
        "../scripts/merge_tables.py"


for figure in FIGURES:

    rule:
        name:
            f"draw_{figure.name}"
        input:
            **{table: f"<results>/tables/{table}.csv" for table in figure.tables if table in TABLES},
        output:
            png=[
                report(
                    file,
                    caption=f"../report/{figure.name}.rst",
                    category=CATEGORIES[SECTION_OF[figure.name]],
                    subcategory=figure.title,
                    labels={"figure": figure.title, "model": model},
                )
                for file, model in zip(drawn(figure, "png"), shown_in(figure) if figure.per_model else ["all"])
            ],
            others=drawn(figure, *[form for form in CONFIG.figures.formats if form != "png"], "csv"),
        log:
            f"<logs>/draw_{figure.name}.log",
        benchmark:
            f"<benchmarks>/draw_{figure.name}.tsv"
        conda:
            ENVIRONMENT
        resources:
            **asks("draw"),
        params:
            figure={"module": figure.module, "function": figure.function, "tables": figure.tables},
            models=shown_in(figure) if figure.per_model else None,
            study=study(*figure.style),
            options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
            code=code("draw", figure.module),
        script:
            "../scripts/draw.py"


for stage in STAGES:
    if stage.tables:

        rule:
            name:
                stage.name
            input:
                [f"<results>/{part.file}" for parts in PLAN.merged(stage).values() for part in parts],
                [f"<results>/{file}" for file in PLAN.files(stage)],
                expand("<results>/tables/{table}.csv", table=PLAN.tables(stage)),
                [drawn(figure, "png", "csv") for figure in PLAN.figures(stage, TABLES)],
            localrule: True


rule tables:
    """Tables of the whole run."""
    input:
        expand("<results>/tables/{table}.csv", table=TABLES),
    localrule: True


rule figures:
    """All figures of the run."""
    input:
        [drawn(figure, *CONFIG.figures.formats, "csv") for figure in FIGURES],
    localrule: True
