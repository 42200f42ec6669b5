# Scores and circuits that the config gives with a model, in place of the searches and of pruning.
# Inputs:  models/{model}/model.json, the given files; for a circuit with scores also models/{model}/path_patching.csv
# Outputs: models/{model}/path_patching.csv, given_scores.csv, circuits/{model}.json, models/{model}/given_circuit.csv


rule take_scores:
    """Take a given table for a model's scores."""
    input:
        model=of_model("model.json"),
        given=given_file("scores"),
    output:
        scores=of_model("path_patching.csv"),
        record=of_model("given_scores.csv"),
    log:
        "<logs>/take_scores/{model}.log",
    benchmark:
        "<benchmarks>/take_scores/{model}.tsv"
    wildcard_constraints:
        model=one_of(GIVEN["scores"]),
    conda:
        ENVIRONMENT
    resources:
        **asks("take_scores"),
    params:
        searches=lambda wildcards: searches_of(wildcards.model, "letter", "token", "receivers", "receiver_heads"),
        code=code("take_scores"),
    script:
        "../scripts/take_scores.py"


rule take_circuit:
    """Take a given circuit for a model's."""
    input:
        model=of_model("model.json"),
        given=given_file("circuit"),
        scores=lambda wildcards: (
            f"<results>/models/{wildcards.model}/path_patching.csv" if wildcards.model in SCORED else []
        ),
    output:
        circuit="<results>/circuits/{model}.json",
        record=of_model("given_circuit.csv"),
    log:
        "<logs>/take_circuit/{model}.log",
    benchmark:
        "<benchmarks>/take_circuit/{model}.tsv"
    wildcard_constraints:
        model=one_of(GIVEN["circuit"]),
    conda:
        ENVIRONMENT
    resources:
        **asks("take_circuit"),
    params:
        searches=lambda wildcards: searches_of(wildcards.model, "letter", "token", "receivers", "receiver_heads"),
        threshold=lambda wildcards: CONFIG.model(wildcards.model).threshold,
        code=code("take_circuit"),
    script:
        "../scripts/take_circuit.py"
