# Whether the circuits are all there is: completeness, overlap, size, and the tokens where heads are needed.
# Inputs:  model.json, behaviour/evaluation.csv, path_patching.csv, activations/means.h5, circuits, evaluation tokens
# Outputs: models/{model}/completeness.csv, circuit_size.csv, role_map.csv, tables/overlap.csv, score_correlation.csv


rule measure_completeness:
    """The circuit and the whole model, with the same heads removed from both."""
    input:
        model=of_model("model.json"),
        circuit="<results>/circuits/{model}.json",
        tokens=tokens("evaluation"),
        means=of_model("activations/means.h5"),
        ablation=tokens("ablation"),
    output:
        completeness=of_model("completeness.csv"),
    log:
        "<logs>/measure_completeness/{model}.log",
    benchmark:
        "<benchmarks>/measure_completeness/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("measure_completeness"),
    params:
        options={**CONFIG.completeness.model_dump(), "seed": CONFIG.seed, "tf32": CONFIG.compute.tf32},
        by_role=BY_ROLE,
        machine=machine,
        code=code("measure_completeness"),
    script:
        "../scripts/measure_completeness.py"


rule measure_circuit_size:
    """Accuracy of a model's nested circuits, the best heads first."""
    input:
        model=of_model("model.json"),
        scores=of_model("path_patching.csv"),
        behaviour=of_model("behaviour/evaluation.csv"),
        tokens=tokens("evaluation"),
        means=of_model("activations/means.h5"),
        ablation=tokens("ablation"),
    output:
        curve=of_model("circuit_size.csv"),
        summary=of_model("circuit_size_summary.csv"),
    log:
        "<logs>/measure_circuit_size/{model}.log",
    benchmark:
        "<benchmarks>/measure_circuit_size/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("measure_circuit_size"),
    params:
        options={"tf32": CONFIG.compute.tf32},
        by_role=BY_ROLE,
        machine=machine,
        code=code("measure_circuit_size"),
    script:
        "../scripts/measure_circuit_size.py"


rule map_roles:
    """Tokens at which a model needs heads, and sets of tokens that are enough."""
    input:
        model=of_model("model.json"),
        behaviour=of_model("behaviour/evaluation.csv"),
        tokens=tokens("evaluation"),
        means=of_model("activations/means.h5"),
        ablation=tokens("ablation"),
    output:
        roles=of_model("role_map.csv"),
    log:
        "<logs>/map_roles/{model}.log",
    benchmark:
        "<benchmarks>/map_roles/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("map_roles"),
    params:
        options={"task": CONFIG.task.model_dump(include={"template", "query"}), "tf32": CONFIG.compute.tf32},
        by_role=EVERY_ROLE,
        machine=machine,
        code=code("map_roles"),
    script:
        "../scripts/map_roles.py"


rule compare_circuits:
    """Heads that circuits share, and how alike the score maps are."""
    input:
        models=expand("<results>/models/{model}/model.json", model=MODELS),
        circuits=expand("<results>/circuits/{model}.json", model=MODELS),
        scores=expand("<results>/models/{model}/path_patching.csv", model=SCORED),
    output:
        overlap="<results>/tables/overlap.csv",
        correlation="<results>/tables/score_correlation.csv",
    log:
        "<logs>/compare_circuits.log",
    benchmark:
        "<benchmarks>/compare_circuits.tsv"
    conda:
        ENVIRONMENT
    resources:
        **asks("compare_circuits"),
    params:
        models=MODELS,
        scored=SCORED,
        code=code("compare_circuits"),
    script:
        "../scripts/compare_circuits.py"
