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
            "pruning": pruning_options(wildcards),
            "seed": CONFIG.seed,
        },
        code=code("resample_scenes"),
    script:
        "../scripts/resample_scenes.py"


use rule make_prompts as make_reworded_prompts with:
    output:
        text="<results>/dataset/wordings/{wording}/{split}.jsonl",
        tokens=expand("<results>/dataset/wordings/{{wording}}/{tokenizer}/{{split}}.h5", tokenizer=TOKENIZERS),
    log:
        "<logs>/make_reworded_prompts/{wording}.{split}.log",
    benchmark:
        "<benchmarks>/make_reworded_prompts/{wording}.{split}.tsv"
    wildcard_constraints:
        wording=one_of(WORDINGS),
    resources:
        **asks("make_reworded_prompts"),
    params:
        options=lambda wildcards: prompt_options(wildcards.split, sentences(WORDINGS[wildcards.wording])),
        tokenizers=TOKENIZERS,
        models=entries(TOKENIZERS),
        code=code("make_prompts"),


rule try_wordings:
    """Run a model's circuit, and its searches again, on prompts in other words."""
    input:
        model=of_model("model.json"),
        circuit="<results>/circuits/{model}.json",
        scores=of_model("path_patching.csv"),
        evaluation=reworded("evaluation"),
        ablation=reworded("ablation"),
        discovery=reworded("discovery"),
    output:
        wordings=of_model("wordings.csv"),
        heads=of_model("wording_heads.csv"),
    log:
        "<logs>/try_wordings/{model}.log",
    benchmark:
        "<benchmarks>/try_wordings/{model}.tsv"
    wildcard_constraints:
        model=one_of(PRUNED),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("try_wordings"),
    params:
        wordings=WORDINGS,
        searches=lambda wildcards: searches_of(
            wildcards.model, "letter", "token", "receivers", "receiver_heads", "keep"
        ),
        options={
            **CONFIG.path_patching.model_dump(exclude={"shards", "null_map"}),
            "null_map": False,
            "seed": CONFIG.seed,
            "tf32": CONFIG.compute.tf32,
        },
        by_role=BY_ROLE,
        machine=machine,
        code=code("try_wordings"),
    script:
        "../scripts/try_wordings.py"
