# The chain of path-patching searches: which heads matter to what.
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
        searches=lambda wildcards: searches_of(wildcards.model, "letter", "token", "receivers", "receiver_heads"),
        options={**CONFIG.path_patching.model_dump(), "tf32": CONFIG.compute.tf32},
        machine=machine,
        code=code("path_patch"),
    script:
        "../scripts/path_patch.py"


rule path_patching:
    """Scores of all heads of all models."""
    input:
        expand("<results>/models/{model}/path_patching.csv", model=MODELS),
    localrule: True
