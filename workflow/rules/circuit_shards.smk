# The pairs of heads that pruning removes, shared out among jobs (pruning.shards).
# Inputs:  models/{model}/model.json, path_patching.csv, activations/means.h5, dataset/tokens/{tokenizer}/pruning.h5
# Outputs: models/{model}/candidates.json, models/{model}/pruning_pairs/{shard}.csv


rule resolve_candidates:
    """Choose a model's candidates: the same ones for all shards."""
    input:
        model=of_model("model.json"),
        scores=of_model("path_patching.csv"),
        means=of_model("activations/means.h5"),
        tokens=tokens("pruning"),
        ablation=tokens("ablation"),
    output:
        candidates=of_model("candidates.json"),
    log:
        "<logs>/resolve_candidates/{model}.log",
    benchmark:
        "<benchmarks>/resolve_candidates/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("resolve_candidates"),
    params:
        keep=keep,
        options={"tf32": CONFIG.compute.tf32},
        machine=machine,
        code=code("resolve_candidates"),
    script:
        "../scripts/resolve_candidates.py"


rule prune_pairs:
    """Accuracy without both heads of some of the pairs."""
    input:
        model=of_model("model.json"),
        candidates=of_model("candidates.json"),
        means=of_model("activations/means.h5"),
        tokens=tokens("pruning"),
        ablation=tokens("ablation"),
    output:
        pairs=of_model("pruning_pairs/{shard}.csv"),
    log:
        "<logs>/prune_pairs/{model}/{shard}.log",
    benchmark:
        "<benchmarks>/prune_pairs/{model}/{shard}.tsv"
    wildcard_constraints:
        shard=one_of(map(str, PRUNING_SHARDS)),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("prune_pairs", share=1 / CONFIG.pruning.shards),
    params:
        shards=CONFIG.pruning.shards,
        options={"tf32": CONFIG.compute.tf32},
        machine=machine,
        code=code("prune_pairs"),
    script:
        "../scripts/prune_pairs.py"
