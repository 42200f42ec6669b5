# Faithfulness: every circuit on every model, beside its ceiling and random circuits of its size.
# Inputs:  models/{model}/model.json, behaviour/evaluation.csv, activations/means.h5, circuits/{circuit}.json, evaluation tokens
# Outputs: faithfulness/{model}/{circuit}.csv, and {circuit}_answers.csv: the circuit's answers prompt by prompt


rule measure_faithfulness:
    """How much of a model's accuracy a circuit, its own or another model's, carries alone, with means of either kind."""
    input:
        model=of_model("model.json"),
        behaviour=of_model("behaviour/evaluation.csv"),
        means=of_model("activations/means.h5"),
        circuit="<results>/circuits/{circuit}.json",
        tokens=tokens("evaluation"),
        ablation=tokens("ablation"),
    output:
        faithfulness="<results>/faithfulness/{model}/{circuit}.csv",
        answers="<results>/faithfulness/{model}/{circuit}_answers.csv",
    log:
        "<logs>/measure_faithfulness/{model}.{circuit}.log",
    benchmark:
        "<benchmarks>/measure_faithfulness/{model}.{circuit}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("measure_faithfulness"),
    params:
        options={**CONFIG.faithfulness.model_dump(), "seed": CONFIG.seed, "tf32": CONFIG.compute.tf32},
        by_role=BY_ROLE,
        other_ablation=OTHER_ABLATION,
        machine=machine,
        code=code("measure_faithfulness"),
    script:
        "../scripts/measure_faithfulness.py"
