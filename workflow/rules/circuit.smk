# The circuit of each model: candidates from the searches, then only the heads that accuracy needs.
# Inputs:  models/{model}/model.json, path_patching.csv, activations/means.h5, dataset/tokens/{tokenizer}/pruning.h5
# Outputs: models/{model}/candidates.json, circuits/{model}.json, models/{model}/pruning_pairs.csv, significance.csv,
#          pruning.csv, pruning_answers.h5, tables/circuits.csv
#
# With more than one shard, jobs share the pairs of heads (models/{model}/pruning_pairs/{shard}.csv).


rule resolve_candidates:
    """Choose a model's candidates from its scores."""
    input:
        model=of_model("model.json"),
        scores=of_model("path_patching.csv"),
        means=for_knee(lambda wildcards: f"<results>/models/{wildcards.model}/activations/means.h5"),
        tokens=for_knee(tokens("pruning")),
        ablation=for_knee(tokens("ablation")),
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
        by_role=BY_ROLE,
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
        by_role=BY_ROLE,
        machine=machine,
        code=code("prune_pairs"),
    script:
        "../scripts/prune_pairs.py"


rule prune_circuit:
    """Prune a model's candidates by minimality, and put heads back where that broke the circuit."""
    input:
        model=of_model("model.json"),
        candidates=of_model("candidates.json"),
        means=of_model("activations/means.h5"),
        tokens=tokens("pruning"),
        ablation=tokens("ablation"),
        shards=[of_model(f"pruning_pairs/{shard}.csv") for shard in PRUNING_SHARDS] if len(PRUNING_SHARDS) > 1 else [],
    output:
        circuit="<results>/circuits/{model}.json",
        pairs=of_model("pruning_pairs.csv"),
        significance=of_model("significance.csv"),
        summary=of_model("pruning.csv"),
        judged=of_model("pruning_answers.h5"),
    log:
        "<logs>/prune_circuit/{model}.log",
    benchmark:
        "<benchmarks>/prune_circuit/{model}.tsv"
    wildcard_constraints:
        model=one_of(PRUNED),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("prune_circuit"),
    params:
        options=lambda wildcards: {**pruning_options(wildcards), "tf32": CONFIG.compute.tf32},
        by_role=BY_ROLE,
        machine=machine,
        code=code("prune_circuit"),
    script:
        "../scripts/prune_circuit.py"


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
        **asks("tabulate_circuits"),
    params:
        models=MODELS,
        code=code("tabulate_circuits"),
    script:
        "../scripts/tabulate_circuits.py"
