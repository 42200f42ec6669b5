# Tables of the whole run, and the figures of each stage, every one beside its own tidy table.
# Inputs:  the stages' per-model tables
# Outputs: tables/{table}.csv, figures/*.{png,pdf,csv}


rule merge_tables:
    """One table of the run from the stage's files, which differ in model, circuit or pair."""
    input:
        parts=lambda wildcards: [file for _, file in MERGED[wildcards.table]],
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
        mem_mb=1000,
        runtime=5,
        gpu=0,
    params:
        models=lambda wildcards: [model for model, _ in MERGED[wildcards.table]],
        code=code("merge_tables"),
    script:
        "../scripts/merge_tables.py"


rule tabulate_circuits:
    """Heads of every circuit, before and after pruning."""
    input:
        circuits=expand("<results>/circuits/{model}.json", model=MODELS),
    output:
        table="<results>/tables/circuits.csv",
    log:
        "<logs>/tabulate_circuits.log",
    benchmark:
        "<benchmarks>/tabulate_circuits.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=5,
        gpu=0,
    params:
        models=MODELS,
        code=code("tabulate_circuits"),
    script:
        "../scripts/tabulate_circuits.py"


rule draw_behaviour:
    """Accuracy of each model, whole and by the queried box."""
    input:
        behaviour="<results>/tables/behaviour.csv",
    output:
        png=report(
            "<results>/figures/behaviour.png",
            caption="../report/behaviour.rst",
            category="1 Behaviour",
            labels={"figure": "accuracy", "models": "all"},
        ),
        others=drawn("behaviour"),
    log:
        "<logs>/draw_behaviour.log",
    benchmark:
        "<benchmarks>/draw_behaviour.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_behaviour"),
    script:
        "../scripts/draw_behaviour.py"


rule draw_path_patching:
    """Layer-by-head maps of the searches of each model, beside their null."""
    input:
        scores="<results>/tables/path_patching.csv",
        circuits="<results>/tables/circuits.csv",
    output:
        png=[
            report(
                f"<results>/figures/path_patching/{model}.png",
                caption="../report/path_patching.rst",
                category="2 Circuit",
                subcategory="Path patching",
                labels={"figure": "score maps", "model": model},
            )
            for model in MODELS
        ],
        others=[file for model in MODELS for file in drawn(f"path_patching/{model}")],
    log:
        "<logs>/draw_path_patching.log",
    benchmark:
        "<benchmarks>/draw_path_patching.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "colormap"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_path_patching"),
    script:
        "../scripts/draw_path_patching.py"


rule draw_circuits:
    """The circuit of each model as a diagram: groups, heads, and what they feed."""
    input:
        circuits="<results>/tables/circuits.csv",
        models=expand("<results>/models/{model}/model.json", model=MODELS),
    output:
        png=[
            report(
                f"<results>/figures/circuits/{model}.png",
                caption="../report/circuits.rst",
                category="2 Circuit",
                subcategory="Diagrams",
                labels={"figure": "circuit", "model": model},
            )
            for model in MODELS
        ],
        others=[file for model in MODELS for file in drawn(f"circuits/{model}")],
    log:
        "<logs>/draw_circuits.log",
    benchmark:
        "<benchmarks>/draw_circuits.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_circuits"),
    script:
        "../scripts/draw_circuits.py"


rule draw_faithfulness:
    """Every circuit on every model, with ceilings and random circuits."""
    input:
        faithfulness="<results>/tables/faithfulness.csv",
    output:
        png=report(
            "<results>/figures/faithfulness.png",
            caption="../report/faithfulness.rst",
            category="2 Circuit",
            subcategory="Faithfulness",
            labels={"figure": "circuit on model", "model": "all"},
        ),
        others=drawn("faithfulness"),
    log:
        "<logs>/draw_faithfulness.log",
    benchmark:
        "<benchmarks>/draw_faithfulness.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_faithfulness"),
    script:
        "../scripts/draw_faithfulness.py"


rule draw_dcm:
    """What each group carries, and how the masks were trained."""
    input:
        results="<results>/tables/dcm.csv",
        curves="<results>/tables/dcm_curves.csv",
    output:
        png=[
            report(
                f"<results>/figures/{figure}.png",
                caption=f"../report/{figure}.rst",
                category="3 Functions",
                labels={"figure": label, "models": "all"},
            )
            for figure, label in {"dcm": "accuracy", "dcm_curves": "training"}.items()
        ],
        others=[*drawn("dcm"), *drawn("dcm_curves")],
    log:
        "<logs>/draw_dcm.log",
    benchmark:
        "<benchmarks>/draw_dcm.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_dcm"),
    script:
        "../scripts/draw_dcm.py"


rule draw_cmap:
    """What fine-tuning improved."""
    input:
        results="<results>/tables/cmap.csv",
    output:
        png=report(
            "<results>/figures/cmap.png",
            caption="../report/cmap.rst",
            category="4 What fine-tuning improved",
            labels={"figure": "patching across models", "models": "all"},
        ),
        others=drawn("cmap"),
    log:
        "<logs>/draw_cmap.log",
    benchmark:
        "<benchmarks>/draw_cmap.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_cmap"),
    script:
        "../scripts/draw_cmap.py"


rule tables:
    """Tables of the whole run."""
    input:
        expand("<results>/tables/{table}.csv", table=["behaviour", "circuits", *COMPARED, *MERGED]),
    localrule: True
