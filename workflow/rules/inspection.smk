# Where heads look: attention blocked between two tokens, and the attention of each group's strongest heads.
# Inputs:  model.json, circuits, evaluation tokens
# Outputs: models/{model}/knockout.csv, attention.csv, attention_prompt.csv


rule knock_out_attention:
    """Accuracy when attention from one token to another is blocked from some layer up."""
    input:
        model=of_model("model.json"),
        tokens=tokens("evaluation"),
    output:
        knockout=of_model("knockout.csv"),
    log:
        "<logs>/knock_out_attention/{model}.log",
    benchmark:
        "<benchmarks>/knock_out_attention/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("knock_out_attention"),
    params:
        options={"seed": CONFIG.seed, "tf32": CONFIG.compute.tf32},
        machine=machine,
        code=code("knock_out_attention"),
    script:
        "../scripts/knock_out_attention.py"


rule look_at_attention:
    """Attention of each group's strongest heads, on average and in one prompt."""
    input:
        model=of_model("model.json"),
        circuit="<results>/circuits/{model}.json",
        tokens=tokens("evaluation"),
    output:
        means=of_model("attention.csv"),
        prompt=of_model("attention_prompt.csv"),
    log:
        "<logs>/look_at_attention/{model}.log",
    benchmark:
        "<benchmarks>/look_at_attention/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("look_at_attention"),
    params:
        options={**CONFIG.attention.model_dump(), "tf32": CONFIG.compute.tf32},
        machine=machine,
        code=code("look_at_attention"),
    script:
        "../scripts/look_at_attention.py"
