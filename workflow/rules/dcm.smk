# Desiderata-based component masking: what each group of a model's circuit carries.
# Inputs:  models/{model}/model.json, activations/dcm.h5, circuits/{model}.json, dataset/tokens/{tokenizer}/dcm.h5
# Outputs: dcm/{model}.csv, dcm/{model}_curves.csv, dcm/{model}_heads.csv, dcm/{model}_answers.csv


rule train_dcm:
    """Train a mask over each group of heads for each desideratum."""
    input:
        model=of_model("model.json"),
        circuit="<results>/circuits/{model}.json",
        activations=of_model("activations/dcm.h5"),
        tokens=tokens("dcm"),
    output:
        results="<results>/dcm/{model}.csv",
        curves="<results>/dcm/{model}_curves.csv",
        heads="<results>/dcm/{model}_heads.csv",
        answers="<results>/dcm/{model}_answers.csv",
    log:
        "<logs>/train_dcm/{model}.log",
    benchmark:
        "<benchmarks>/train_dcm/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("train_dcm"),
    params:
        options={
            **CONFIG.dcm.model_dump(exclude={"pairs"}),
            "seed": CONFIG.seed,
            "tf32": CONFIG.compute.tf32,
        },
        machine=machine,
        code=code("train_dcm"),
    script:
        "../scripts/train_dcm.py"
