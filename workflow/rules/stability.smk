# How often each head is a candidate, and kept, when other scenes are drawn; no model runs again.
# Inputs:  circuits/{model}.json, models/{model}/path_patching/{search}/{shard}.h5, pruning_answers.h5, discovery tokens
# Outputs: models/{model}/stability.csv


rule resample_scenes:
    """Choose candidates and prune again on resampled scenes."""
    input:
        model=of_model("model.json"),
        tokens=tokens("discovery"),
        circuit="<results>/circuits/{model}.json",
        scores=of_model("path_patching.csv"),
        effects=lambda wildcards: effects_of(wildcards.model, SEARCHES),
        judged=of_model("pruning_answers.h5"),
    output:
        stability=of_model("stability.csv"),
    log:
        "<logs>/resample_scenes/{model}.log",
    benchmark:
        "<benchmarks>/resample_scenes/{model}.tsv"
    conda:
        ENVIRONMENT
    resources:
        **asks("resample_scenes"),
    params:
        options=lambda wildcards: {
            **CONFIG.stability.model_dump(),
            **pruning_options(wildcards),
            "seed": CONFIG.seed,
        },
        code=code("resample_scenes"),
    script:
        "../scripts/resample_scenes.py"
