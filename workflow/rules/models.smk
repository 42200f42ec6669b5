# The models: fetched where they are hub ids, checked, adapters merged, each proven to be computed rightly; and how
# well each tracks entities.
# Inputs:  model folders or hub ids, dataset/tokens/{tokenizer}/{split}.h5
# Outputs: models/{model}/model.json, merged.safetensors (adapters), behaviour/{split}.csv


rule download_model:
    """Fetch a model from the hub. It needs a network and little else, so it may run on a head node."""
    output:
        record="<results>/models/{model}/download.json",
    log:
        "<logs>/download_model/{model}.log",
    benchmark:
        "<benchmarks>/download_model/{model}.tsv"
    wildcard_constraints:
        model=one_of(ON_HUB),
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        **asks("download_model"),
    params:
        options=lambda wildcards: CONFIG.model(wildcards.model).model_dump(
            include={"path", "revision", "trust_remote_code"}
        ),
        code=code("download_model"),
    script:
        "../scripts/download_model.py"


rule prepare_model:
    """Check a model, let it answer a probe, and describe it for all later stages."""
    input:
        files=lambda wildcards: input_files(SOURCES[wildcards.model]),
        downloads=lambda wildcards: downloads([wildcards.model]),
    output:
        model="<results>/models/{model}/model.json",
    log:
        "<logs>/prepare_model/{model}.log",
    benchmark:
        "<benchmarks>/prepare_model/{model}.tsv"
    wildcard_constraints:
        model=one_of(set(MODELS) - set(ADAPTERS)),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("prepare_model"),
    params:
        models=lambda wildcards: entries([wildcards.model], "dtype"),
        machine=machine,
        code=code("prepare_model"),
    script:
        "../scripts/prepare_model.py"


rule merge_adapter:
    """The same for a PEFT adapter, which is merged into the weights of its base."""
    input:
        files=lambda wildcards: input_files(SOURCES[wildcards.model]),
        downloads=lambda wildcards: downloads([wildcards.model]),
    output:
        model="<results>/models/{model}/model.json",
        weights="<results>/models/{model}/merged.safetensors",
    log:
        "<logs>/merge_adapter/{model}.log",
    benchmark:
        "<benchmarks>/merge_adapter/{model}.tsv"
    wildcard_constraints:
        model=one_of(ADAPTERS),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("merge_adapter"),
    params:
        models=lambda wildcards: entries([wildcards.model], "dtype"),
        machine=machine,
        code=code("merge_adapter"),
    script:
        "../scripts/merge_adapter.py"


rule measure_behaviour:
    """The whole model's answers on the prompts of a split."""
    input:
        model=of_model("model.json"),
        tokens=split_tokens,
    output:
        behaviour=of_model("behaviour/{split}.csv"),
    log:
        "<logs>/measure_behaviour/{model}.{split}.log",
    benchmark:
        "<benchmarks>/measure_behaviour/{model}.{split}.tsv"
    wildcard_constraints:
        split="discovery|evaluation",
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("measure_behaviour"),
    params:
        options={"tf32": CONFIG.compute.tf32},
        machine=machine,
        code=code("measure_behaviour"),
    script:
        "../scripts/measure_behaviour.py"


rule tabulate_behaviour:
    """Accuracy of every model, with intervals over scenes."""
    input:
        behaviour=expand("<results>/models/{model}/behaviour/evaluation.csv", model=MODELS),
    output:
        table="<results>/tables/behaviour.csv",
    log:
        "<logs>/tabulate_behaviour.log",
    benchmark:
        "<benchmarks>/tabulate_behaviour.tsv"
    conda:
        ENVIRONMENT
    resources:
        **asks("tabulate_behaviour"),
    params:
        options={"models": MODELS},
        code=code("tabulate_behaviour"),
    script:
        "../scripts/tabulate_behaviour.py"


rule prepare_models:
    """All models, checked and ready."""
    input:
        expand("<results>/models/{model}/model.json", model=MODELS),
    localrule: True
