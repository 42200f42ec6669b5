# Figures of the stages that a run can leave out, each beside its own tidy table.
# Inputs:  the stages' merged tables
# Outputs: figures/{completeness,overlap,circuit_size,role_map,patched_heads,probes,cmap_inputs,knockout}.*, attention/*


rule draw_completeness:
    """The circuit beside the whole model, with the same heads removed."""
    input:
        results="<results>/tables/completeness.csv",
    output:
        png=report(
            "<results>/figures/completeness.png",
            caption="../report/completeness.rst",
            category="2 Circuit",
            subcategory="Completeness",
            labels={"figure": "completeness", "models": "all"},
        ),
        others=drawn("completeness"),
    log:
        "<logs>/draw_completeness.log",
    benchmark:
        "<benchmarks>/draw_completeness.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_completeness"),
    script:
        "../scripts/draw_completeness.py"


rule draw_overlap:
    """What circuits share."""
    input:
        overlap="<results>/tables/overlap.csv",
        correlation="<results>/tables/score_correlation.csv",
    output:
        png=report(
            "<results>/figures/overlap.png",
            caption="../report/overlap.rst",
            category="2 Circuit",
            subcategory="Overlap",
            labels={"figure": "overlap", "models": "all"},
        ),
        others=drawn("overlap"),
    log:
        "<logs>/draw_overlap.log",
    benchmark:
        "<benchmarks>/draw_overlap.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_overlap"),
    script:
        "../scripts/draw_overlap.py"


rule draw_circuit_size:
    """Accuracy against the number of heads."""
    input:
        curve="<results>/tables/circuit_size.csv",
        summary="<results>/tables/circuit_size_summary.csv",
    output:
        png=report(
            "<results>/figures/circuit_size.png",
            caption="../report/circuit_size.rst",
            category="2 Circuit",
            subcategory="Size",
            labels={"figure": "circuit size", "models": "all"},
        ),
        others=drawn("circuit_size"),
    log:
        "<logs>/draw_circuit_size.log",
    benchmark:
        "<benchmarks>/draw_circuit_size.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_circuit_size"),
    script:
        "../scripts/draw_circuit_size.py"


rule draw_role_map:
    """Needed tokens, and sets that are enough, over the words of the prompt."""
    input:
        results="<results>/tables/role_map.csv",
    output:
        png=report(
            "<results>/figures/role_map.png",
            caption="../report/role_map.rst",
            category="2 Circuit",
            subcategory="Roles",
            labels={"figure": "role map", "models": "all"},
        ),
        others=drawn("role_map"),
    log:
        "<logs>/draw_role_map.log",
    benchmark:
        "<benchmarks>/draw_role_map.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_role_map"),
    script:
        "../scripts/draw_role_map.py"


rule draw_patched_heads:
    """Every circuit's chosen heads in every model."""
    input:
        results="<results>/tables/patched_heads.csv",
    output:
        png=report(
            "<results>/figures/patched_heads.png",
            caption="../report/patched_heads.rst",
            category="3 Functions",
            subcategory="Chosen heads",
            labels={"figure": "in every model", "models": "all"},
        ),
        others=drawn("patched_heads"),
    log:
        "<logs>/draw_patched_heads.log",
    benchmark:
        "<benchmarks>/draw_patched_heads.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_patched_heads"),
    script:
        "../scripts/draw_patched_heads.py"


rule draw_probes:
    """What position means."""
    input:
        results="<results>/tables/probes.csv",
        masks="<results>/tables/probe_masks.csv",
    output:
        png=report(
            "<results>/figures/probes.png",
            caption="../report/probes.rst",
            category="3 Functions",
            subcategory="Position",
            labels={"figure": "probes", "models": "all"},
        ),
        others=drawn("probes"),
    log:
        "<logs>/draw_probes.log",
    benchmark:
        "<benchmarks>/draw_probes.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        letter={search.name: search.letter for search in CONFIG.searches}.get(CONFIG.probes.group),
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_probes"),
    script:
        "../scripts/draw_probes.py"


rule draw_cmap_inputs:
    """Inputs of groups across models."""
    input:
        results="<results>/tables/cmap_inputs.csv",
        behaviour="<results>/tables/behaviour.csv",
    output:
        png=report(
            "<results>/figures/cmap_inputs.png",
            caption="../report/cmap_inputs.rst",
            category="4 What fine-tuning improved",
            subcategory="Inputs",
            labels={"figure": "patched inputs", "models": "all"},
        ),
        others=drawn("cmap_inputs"),
    log:
        "<logs>/draw_cmap_inputs.log",
    benchmark:
        "<benchmarks>/draw_cmap_inputs.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_cmap_inputs"),
    script:
        "../scripts/draw_cmap_inputs.py"


rule draw_knockout:
    """Attention blocked between two tokens."""
    input:
        results="<results>/tables/knockout.csv",
    output:
        png=report(
            "<results>/figures/knockout.png",
            caption="../report/knockout.rst",
            category="5 Where heads look",
            subcategory="Knockout",
            labels={"figure": "knockout", "models": "all"},
        ),
        others=drawn("knockout"),
    log:
        "<logs>/draw_knockout.log",
    benchmark:
        "<benchmarks>/draw_knockout.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_knockout"),
    script:
        "../scripts/draw_knockout.py"


rule draw_attention:
    """Attention of the strongest heads of each model."""
    input:
        means="<results>/tables/attention.csv",
        prompt="<results>/tables/attention_prompt.csv",
    output:
        png=[
            report(
                f"<results>/figures/attention/{model}.png",
                caption="../report/attention.rst",
                category="5 Where heads look",
                subcategory="Patterns",
                labels={"figure": "attention", "models": model},
            )
            for model in MODELS
        ],
        others=[file for model in MODELS for file in drawn(f"attention/{model}")],
    log:
        "<logs>/draw_attention.log",
    benchmark:
        "<benchmarks>/draw_attention.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1500,
        runtime=10,
        gpu=0,
    params:
        study=study("font_size", "palette"),
        options=CONFIG.figures.model_dump(include={"formats", "dpi"}),
        code=code("draw_attention"),
    script:
        "../scripts/draw_attention.py"


ALL_FIGURES = [
    rules.draw_behaviour.output,
    rules.draw_path_patching.output,
    rules.draw_circuits.output,
    rules.draw_faithfulness.output,
    rules.draw_dcm.output,
    rules.draw_cmap.output if FINE_TUNED else [],
    *[getattr(rules, f"draw_{stage}").output for stage in STAGES],
]


for stage in STAGES:

    rule:
        name:
            stage
        input:
            getattr(rules, f"draw_{stage}").input,
            getattr(rules, f"draw_{stage}").output,
        localrule: True


rule figures:
    """All figures of the run."""
    input:
        ALL_FIGURES,
    localrule: True
