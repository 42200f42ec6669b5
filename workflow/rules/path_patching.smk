# The chain of path-patching searches: which heads matter to what.
# Inputs:  models/{model}/model.json, behaviour/discovery.csv, activations/discovery.h5, discovery tokens
# Outputs: models/{model}/path_patching/{search}/{shard}.h5 (effects prompt by prompt), models/{model}/path_patching.csv
#
# With one shard a job runs a model's whole chain; with more, a job runs some layers in one search.


rule path_patch:
    """Score heads of a model, prompt by prompt."""
    input:
        model=of_model("model.json"),
        tokens=tokens("discovery"),
        activations=of_model("activations/discovery.h5"),
        answers=of_model("behaviour/discovery.csv") if CONFIG.path_patching.prompts == "correct" else [],
        earlier=lambda wildcards: effects_of(wildcards.model, patched_into(wildcards)),
    output:
        effects=effects_of("{model}", SEARCHES) if SHARDS == 1 else [of_model("path_patching/{search}/{shard}.h5")],
    log:
        "<logs>/path_patch/{model}.log" if SHARDS == 1 else "<logs>/path_patch/{model}/{search}_{shard}.log",
    benchmark:
        "<benchmarks>/path_patch/{model}.tsv"
        if SHARDS == 1
        else "<benchmarks>/path_patch/{model}/{search}_{shard}.tsv"
    wildcard_constraints:
        search=one_of(SEARCHES),
        shard=one_of(map(str, range(SHARDS))),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("path_patch", share=1 / SHARDS),
    params:
        searches=path_patching_searches,
        run=run_here,
        shards=SHARDS,
        options={
            **CONFIG.path_patching.model_dump(exclude={"shards"}),
            "seed": CONFIG.seed,
            "tf32": CONFIG.compute.tf32,
        },
        machine=machine,
        code=code("path_patch"),
    script:
        "../scripts/path_patch.py"


rule score_heads:
    """Scores of every head of a model in every search."""
    input:
        model=of_model("model.json"),
        tokens=tokens("discovery"),
        effects=lambda wildcards: effects_of(wildcards.model, SEARCHES),
    output:
        scores=of_model("path_patching.csv"),
    log:
        "<logs>/score_heads/{model}.log",
    benchmark:
        "<benchmarks>/score_heads/{model}.tsv"
    wildcard_constraints:
        model=one_of(SEARCHED),
    conda:
        ENVIRONMENT
    resources:
        **asks("score_heads"),
    params:
        searches=lambda wildcards: searches_of(wildcards.model, "letter", "token", "receivers", "receiver_heads"),
        code=code("score_heads"),
    script:
        "../scripts/score_heads.py"
