# Cross-model activation patching: which group fine-tuning improved. {model} is fine-tuned from the study's base.
# Inputs:  model.json and activations/evaluation.h5 of both models, circuits and dcm heads of both, evaluation tokens
# Outputs: cmap/{base}__{model}.csv, cmap_inputs/{base}__{model}.csv


rule patch_across_models:
    """Put head outputs of one model into the other, group by group, both ways."""
    input:
        base=f"<results>/models/{CONFIG.base}/model.json",
        model=of_model("model.json"),
        base_activations=f"<results>/models/{CONFIG.base}/activations/evaluation.h5",
        activations=of_model("activations/evaluation.h5"),
        base_circuit=f"<results>/circuits/{CONFIG.base}.json",
        circuit="<results>/circuits/{model}.json",
        base_heads=f"<results>/dcm/{CONFIG.base}_heads.csv",
        heads="<results>/dcm/{model}_heads.csv",
        base_tokens=f"<results>/dataset/tokens/{TOKENIZER[CONFIG.base]}/evaluation.h5",
        tokens=tokens("evaluation"),
    output:
        results=f"<results>/cmap/{CONFIG.base}__{{model}}.csv",
    log:
        "<logs>/patch_across_models/{model}.log",
    benchmark:
        "<benchmarks>/patch_across_models/{model}.tsv"
    wildcard_constraints:
        model=one_of(FINE_TUNED),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("patch_across_models"),
    params:
        options={
            **CONFIG.cmap.model_dump(),
            "choice": {search.letter: search.carries for search in CONFIG.searches if search.carries},
            "seed": CONFIG.seed,
            "tf32": CONFIG.compute.tf32,
        },
        machine=machine,
        code=code("patch_across_models"),
    script:
        "../scripts/patch_across_models.py"


rule patch_inputs_across_models:
    """Put inputs of heads at the last token of one model into the other, both ways."""
    input:
        base=f"<results>/models/{CONFIG.base}/model.json",
        model=of_model("model.json"),
        base_activations=f"<results>/models/{CONFIG.base}/activations/evaluation.h5",
        activations=of_model("activations/evaluation.h5"),
        base_circuit=f"<results>/circuits/{CONFIG.base}.json",
        circuit="<results>/circuits/{model}.json",
        base_heads=f"<results>/dcm/{CONFIG.base}_heads.csv",
        heads="<results>/dcm/{model}_heads.csv",
        base_tokens=f"<results>/dataset/tokens/{TOKENIZER[CONFIG.base]}/evaluation.h5",
        tokens=tokens("evaluation"),
    output:
        results=f"<results>/cmap_inputs/{CONFIG.base}__{{model}}.csv",
    log:
        "<logs>/patch_inputs_across_models/{model}.log",
    benchmark:
        "<benchmarks>/patch_inputs_across_models/{model}.tsv"
    wildcard_constraints:
        model=one_of(FINE_TUNED),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("patch_inputs_across_models"),
    params:
        options={
            **CONFIG.cmap.model_dump(),
            "choice": {search.letter: search.carries for search in CONFIG.searches if search.carries},
            "letters": [search.letter for search in CONFIG.searches if search.token == "last"],
            "seed": CONFIG.seed,
            "tf32": CONFIG.compute.tf32,
        },
        machine=machine,
        code=code("patch_inputs_across_models"),
    script:
        "../scripts/patch_inputs_across_models.py"
