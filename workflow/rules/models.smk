# The models: fetched where they are hub ids, checked, adapters merged, each proven to be computed rightly; and how
# well each tracks entities.
# Inputs:  model folders or hub ids, dataset/tokens/{tokenizer}/evaluation.h5
# Outputs: models/{model}/model.json, merged.safetensors (adapters), behaviour.csv


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
        mem_mb=1000,
        runtime=240,
        gpu=0,
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
        mem_mb=memory(1500, 5),
        runtime=minutes(10, 4),
        gpu=gpu,
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
        mem_mb=memory(1500, 5),
        runtime=minutes(10, 4),
        gpu=gpu,
    params:
        models=lambda wildcards: entries([wildcards.model], "dtype"),
        machine=machine,
        code=code("merge_adapter"),
    script:
        "../scripts/merge_adapter.py"


rule measure_behaviour:
    """The whole model's answers on the evaluation prompts."""
    input:
        model=of_model("model.json"),
        tokens=tokens("evaluation"),
    output:
        behaviour=of_model("behaviour.csv"),
    log:
        "<logs>/measure_behaviour/{model}.log",
    benchmark:
        "<benchmarks>/measure_behaviour/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        mem_mb=memory(2500, 3),
        runtime=minutes(5, 4),
        gpu=gpu,
    params:
        options={"tf32": CONFIG.compute.tf32},
        machine=machine,
        code=code("measure_behaviour"),
    script:
        "../scripts/measure_behaviour.py"


rule tabulate_behaviour:
    """Accuracy of every model, with intervals over scenes."""
    input:
        behaviour=expand("<results>/models/{model}/behaviour.csv", model=MODELS),
    output:
        table="<results>/tables/behaviour.csv",
    log:
        "<logs>/tabulate_behaviour.log",
    benchmark:
        "<benchmarks>/tabulate_behaviour.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=5,
        gpu=0,
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


rule behaviour:
    """How well each model tracks entities."""
    input:
        "<results>/tables/behaviour.csv",
    localrule: True
