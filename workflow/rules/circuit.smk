# The circuit of each model: candidates from the searches, then only the heads that accuracy needs.
# Inputs:  models/{model}/model.json, path_patching.csv, activations/means.h5, dataset/tokens/{tokenizer}/pruning.h5
# Outputs: circuits/{model}.json, models/{model}/pruning_pairs.csv, models/{model}/significance.csv, pruning_answers.h5

PRUNING_SHARDS = range(CONFIG.pruning.shards)


if len(PRUNING_SHARDS) > 1:

    include: "circuit_shards.smk"


rule prune_circuit:
    """Choose a model's candidates and prune them by minimality."""
    input:
        model=of_model("model.json"),
        scores=of_model("path_patching.csv"),
        means=of_model("activations/means.h5"),
        tokens=tokens("pruning"),
        ablation=tokens("ablation"),
        candidates=of_model("candidates.json") if len(PRUNING_SHARDS) > 1 else [],
        shards=(
            expand(of_model("pruning_pairs/{shard}.csv"), shard=PRUNING_SHARDS, allow_missing=True)
            if len(PRUNING_SHARDS) > 1
            else []
        ),
    output:
        circuit="<results>/circuits/{model}.json",
        pairs=of_model("pruning_pairs.csv"),
        significance=of_model("significance.csv"),
        judged=of_model("pruning_answers.h5"),
    log:
        "<logs>/prune_circuit/{model}.log",
    benchmark:
        "<benchmarks>/prune_circuit/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory(3000, 3),
        runtime=minutes(10, 15),
        gpu=gpu,
    params:
        keep=keep,
        options={**CONFIG.pruning.model_dump(exclude={"shards"}), "tf32": CONFIG.compute.tf32},
        machine=machine,
        code=code("prune_circuit"),
    script:
        "../scripts/prune_circuit.py"


rule prune_circuits:
    """The circuit of every model."""
    input:
        expand("<results>/circuits/{model}.json", model=MODELS),
    localrule: True
