# What chosen heads do on pairs that no mask has seen, and what a group means by position.
# Inputs:  model.json, circuits, dcm heads, dataset/words.json
# Outputs: dataset/{patching,probes}.jsonl and tokens, patched_heads/{model}/{circuit}.csv, probes/{model}.csv


rule make_fresh_pairs:
    """Fresh pairs for chosen heads (patching), or pairs with a changed source prompt (probes)."""
    input:
        words="<results>/dataset/words.json",
        tokenizers=tokenizer_files(TOKENIZERS),
        downloads=downloads(TOKENIZERS),
    output:
        text="<results>/dataset/{fresh}.jsonl",
        tokens=expand("<results>/dataset/tokens/{tokenizer}/{{fresh}}.h5", tokenizer=TOKENIZERS),
    log:
        "<logs>/make_fresh_pairs/{fresh}.log",
    benchmark:
        "<benchmarks>/make_fresh_pairs/{fresh}.tsv"
    wildcard_constraints:
        fresh=one_of(FRESH),
    conda:
        ENVIRONMENT
    resources:
        **asks("make_fresh_pairs"),
    params:
        options=lambda wildcards: {
            "sizes": FRESH[wildcards.fresh],
            "desiderata": CONFIG.dcm.desiderata if wildcards.fresh == "patching" else None,
            "task": SENTENCES | (PROBE_TEXTS if wildcards.fresh == "probes" else {}),
            "seed": CONFIG.seed,
        },
        tokenizers=TOKENIZERS,
        models=entries(TOKENIZERS),
        code=code("make_fresh_pairs"),
    script:
        "../scripts/make_fresh_pairs.py"


rule patch_dcm_heads:
    """Patch the heads that a circuit's masks chose in a model, its own or another's."""
    input:
        model=of_model("model.json"),
        circuit="<results>/circuits/{circuit}.json",
        heads="<results>/dcm/{circuit}_heads.csv",
        tokens=tokens("patching"),
    output:
        summary="<results>/patched_heads/{model}/{circuit}.csv",
        resamples="<results>/patched_heads/{model}/{circuit}_resamples.csv",
        answers="<results>/patched_heads/{model}/{circuit}_answers.csv",
    log:
        "<logs>/patch_dcm_heads/{model}.{circuit}.log",
    benchmark:
        "<benchmarks>/patch_dcm_heads/{model}.{circuit}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("patch_dcm_heads"),
    params:
        options={"tf32": CONFIG.compute.tf32},
        machine=machine,
        code=code("patch_dcm_heads"),
    script:
        "../scripts/patch_dcm_heads.py"


rule probe_position:
    """Train masks on each position probe, and patch position heads on each."""
    input:
        model=of_model("model.json"),
        circuit="<results>/circuits/{model}.json",
        base_circuit=f"<results>/circuits/{CONFIG.base}.json",
        heads="<results>/dcm/{model}_heads.csv",
        base_heads=f"<results>/dcm/{CONFIG.base}_heads.csv",
        tokens=tokens("probes"),
    output:
        patched="<results>/probes/{model}.csv",
        masks="<results>/probes/{model}_masks.csv",
    log:
        "<logs>/probe_position/{model}.log",
    benchmark:
        "<benchmarks>/probe_position/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("probe_position"),
    params:
        options={
            **CONFIG.dcm.model_dump(exclude={"pairs", "desiderata"}),
            "group": CONFIG.probes.group,
            "seed": CONFIG.seed,
            "tf32": CONFIG.compute.tf32,
        },
        machine=machine,
        code=code("probe_position"),
    script:
        "../scripts/probe_position.py"
