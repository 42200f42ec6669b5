# The chain of path-patching searches, each search shared out among jobs by layers (path_patching.shards).
# Inputs:  models/{model}/model.json, activations/discovery.h5, dataset/tokens/{tokenizer}/discovery.h5
# Outputs: models/{model}/path_patching.csv; on the way answers.csv and {search}/{shard}.h5 in models/{model}/path_patching


rule answer_discovery:
    """Which prompts a model answers rightly: the same ones count for all shards."""
    input:
        model=of_model("model.json"),
        tokens=tokens("discovery"),
    output:
        answers=of_model("path_patching/answers.csv"),
    log:
        "<logs>/answer_discovery/{model}.log",
    benchmark:
        "<benchmarks>/answer_discovery/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory(3000, 3),
        runtime=minutes(5, 4),
        gpu=gpu,
    params:
        options={"tf32": CONFIG.compute.tf32},
        machine=machine,
        code=code("answer_discovery"),
    script:
        "../scripts/answer_discovery.py"


rule path_patch_shard:
    """Score the heads of some layers of a model in one search."""
    input:
        model=of_model("model.json"),
        tokens=tokens("discovery"),
        activations=of_model("activations/discovery.h5"),
        answers=of_model("path_patching/answers.csv") if CONFIG.path_patching.prompts == "correct" else [],
        earlier=lambda wildcards: shards_of(wildcards.model, patched_into(wildcards)),
    output:
        effects=of_model("path_patching/{search}/{shard}.h5"),
    log:
        "<logs>/path_patch_shard/{model}/{search}_{shard}.log",
    benchmark:
        "<benchmarks>/path_patch_shard/{model}/{search}_{shard}.tsv"
    wildcard_constraints:
        search=one_of(search.name for search in CONFIG.searches),
        shard=one_of(map(str, range(CONFIG.path_patching.shards))),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory(3000, 3),
        runtime=minutes(10, 30 / CONFIG.path_patching.shards),
        gpu=gpu,
    params:
        searches=lambda wildcards: [
            search
            for search in searches_of(wildcards.model, "letter", "token", "receivers", "receiver_heads")
            if search["name"] in (*patched_into(wildcards), wildcards.search)
        ],
        shards=CONFIG.path_patching.shards,
        options=PATH_PATCHING,
        machine=machine,
        code=code("path_patch_shard"),
    script:
        "../scripts/path_patch_shard.py"


rule join_shards:
    """Scores of every head of a model in every search, from the shards."""
    input:
        model=of_model("model.json"),
        tokens=tokens("discovery"),
        shards=lambda wildcards: shards_of(wildcards.model, [search.name for search in CONFIG.searches]),
    output:
        scores=of_model("path_patching.csv"),
        effects=of_model("path_patching_effects.h5"),
    log:
        "<logs>/join_shards/{model}.log",
    benchmark:
        "<benchmarks>/join_shards/{model}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
        gpu=0,
    params:
        searches=lambda wildcards: searches_of(wildcards.model, "letter", "token", "receivers", "receiver_heads"),
        code=code("join_shards"),
    script:
        "../scripts/join_shards.py"
