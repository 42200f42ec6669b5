# Activations on disk, one file a model and purpose, so that a stage reads only what it needs.
# Inputs:  models/{model}/model.json, token files, for `dcm` circuits/{model}.json
# Outputs: models/{model}/activations/{purpose}.h5


rule store_activations:
    """Head outputs of a model at the tokens of a purpose; for `means` their averages by position."""
    input:
        model=of_model("model.json"),
        tokens=purpose_tokens,
        circuit=purpose_circuit,
    output:
        activations=of_model("activations/{purpose}.h5"),
    log:
        "<logs>/store_activations/{model}.{purpose}.log",
    benchmark:
        "<benchmarks>/store_activations/{model}.{purpose}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("store_activations"),
    params:
        options=purpose_options,
        machine=machine,
        code=code("store_activations"),
    script:
        "../scripts/store_activations.py"


rule activations:
    """All activations that the stages read."""
    input:
        expand("<results>/models/{model}/activations/{purpose}.h5", model=MODELS, purpose=PURPOSES),
    localrule: True
