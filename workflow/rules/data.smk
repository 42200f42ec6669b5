# The dataset: words, prompts of each split, pairs for DCM; as text, and as token ids for each distinct tokenizer.
# Inputs:  the word list, the tokenizers
# Outputs: dataset/words.json, dataset/{split}.jsonl, dataset/tokens/{tokenizer}/{split}.h5, config.resolved.yaml


rule write_config:
    """The config of the run with all defaults filled in."""
    output:
        config="<results>/config.resolved.yaml",
    log:
        "<logs>/write_config.log",
    benchmark:
        "<benchmarks>/write_config.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        **asks("write_config"),
    params:
        config=CONFIG.model_dump(),
        code=code("write_config"),
    script:
        "../scripts/write_config.py"


rule choose_words:
    """Objects and labels that are one token in every tokenizer of the run."""
    input:
        words=word_list(),
        tokenizers=tokenizer_files(TOKENIZERS),
        downloads=downloads(TOKENIZERS),
    output:
        words="<results>/dataset/words.json",
    log:
        "<logs>/choose_words.log",
    benchmark:
        "<benchmarks>/choose_words.tsv"
    conda:
        ENVIRONMENT
    resources:
        **asks("choose_words"),
    params:
        options=CONFIG.task.model_dump(exclude={"probe_texts"}),
        wordings=WORDINGS,
        tokenizers=TOKENIZERS,
        models=entries(TOKENIZERS),
        code=code("choose_words"),
    script:
        "../scripts/choose_words.py"


rule make_prompts:
    """Prompts of a split: discovery (with corrupted and null partners), pruning, ablation, evaluation."""
    input:
        words="<results>/dataset/words.json",
        tokenizers=tokenizer_files(TOKENIZERS),
        downloads=downloads(TOKENIZERS),
    output:
        text="<results>/dataset/{split}.jsonl",
        tokens=expand("<results>/dataset/tokens/{tokenizer}/{{split}}.h5", tokenizer=TOKENIZERS),
    log:
        "<logs>/make_prompts/{split}.log",
    benchmark:
        "<benchmarks>/make_prompts/{split}.tsv"
    conda:
        ENVIRONMENT
    resources:
        **asks("make_prompts"),
    params:
        options=lambda wildcards: prompt_options(wildcards.split, SENTENCES),
        tokenizers=TOKENIZERS,
        models=entries(TOKENIZERS),
        code=code("make_prompts"),
    script:
        "../scripts/make_prompts.py"


rule make_pairs:
    """Pairs of prompts for each desideratum: to train masks, to choose the best, to test it."""
    input:
        words="<results>/dataset/words.json",
        tokenizers=tokenizer_files(TOKENIZERS),
        downloads=downloads(TOKENIZERS),
    output:
        text="<results>/dataset/dcm.jsonl",
        tokens=expand("<results>/dataset/tokens/{tokenizer}/dcm.h5", tokenizer=TOKENIZERS),
    log:
        "<logs>/make_pairs.log",
    benchmark:
        "<benchmarks>/make_pairs.tsv"
    conda:
        ENVIRONMENT
    resources:
        **asks("make_pairs"),
    params:
        options={
            "pairs": CONFIG.dcm.pairs.model_dump(),
            "desiderata": CONFIG.dcm.desiderata,
            "task": SENTENCES,
            "seed": CONFIG.seed,
        },
        tokenizers=TOKENIZERS,
        models=entries(TOKENIZERS),
        code=code("make_pairs"),
    script:
        "../scripts/make_pairs.py"


rule dataset:
    """All prompts and pairs of the run."""
    input:
        expand("<results>/dataset/{split}.jsonl", split=[*SPLITS, "dcm"]),
    localrule: True
