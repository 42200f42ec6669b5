# The chain of path-patching searches of a model in one job (path_patching.shards: 1).
# Inputs:  models/{model}/model.json, activations/discovery.h5, dataset/tokens/{tokenizer}/discovery.h5
# Outputs: models/{model}/path_patching.csv


rule path_patch:
    """Score every head of a model in every search of the chain."""
    input:
        model=of_model("model.json"),
        tokens=tokens("discovery"),
        activations=of_model("activations/discovery.h5"),
    output:
        scores=of_model("path_patching.csv"),
        effects=of_model("path_patching_effects.h5"),
    log:
        "<logs>/path_patch/{model}.log",
    benchmark:
        "<benchmarks>/path_patch/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory(3000, 3),
        runtime=minutes(10, 30),
        gpu=gpu,
    params:
        searches=lambda wildcards: searches_of(
            wildcards.model,
            *("letter", "token", "receivers", "receiver_heads"),
            # Refined searches run as many heads exactly as are kept; for exact ones their number decides nothing.
            *(["keep"] if CONFIG.path_patching.mode == "refined" else []),
        ),
        options=PATH_PATCHING,
        machine=machine,
        code=code("path_patch"),
    script:
        "../scripts/path_patch.py"
