# The chain of path-patching searches: which heads matter to what.
# Inputs:  models/{model}/model.json, behaviour/discovery.csv, activations/discovery.h5, discovery tokens
# Outputs: models/{model}/path_patching/{search}/{shard}.h5 (effects prompt by prompt), models/{model}/path_patching.csv
#
# With one shard a job runs a model's whole chain; with more, a job runs some layers in one search.

SHARDS = CONFIG.path_patching.shards
SEARCHES = [search.name for search in CONFIG.searches]


def effects_of(model, searches):
    """Files of the effects of some searches of a model, every shard."""
    folder = f"<results>/models/{model}/path_patching"
    return [f"{folder}/{search}/{shard}.h5" for search in searches for shard in range(SHARDS)]


def patched_into(wildcards):
    """Earlier searches whose heads a shard's search patches into, in the chain's order; none for a whole chain."""
    if SHARDS == 1:
        return []
    receivers = next(search.receivers for search in CONFIG.searches if search.name == wildcards.search)
    wanted = {one.search for one in receivers if one != "logits"}
    return [search for search in SEARCHES if search in wanted]


def run_here(wildcards):
    """Searches that a job runs."""
    return SEARCHES if SHARDS == 1 else [wildcards.search]


def path_patching_searches(wildcards):
    """The searches that a job runs and those that it patches into, with what decides their scores."""
    # Refined searches run as many heads exactly as are kept; for exact ones their number decides nothing.
    keep = ["keep"] if CONFIG.path_patching.mode == "refined" else []
    searches = searches_of(wildcards.model, "letter", "token", "receivers", "receiver_heads", *keep)
    needed = {*patched_into(wildcards), *run_here(wildcards)}
    return [search for search in searches if search["name"] in needed]


rule path_patch:
    """Score heads of a model, prompt by prompt."""
    input:
        model=of_model("model.json"),
        tokens=tokens("discovery"),
        activations=of_model("activations/discovery.h5"),
        answers=of_model("behaviour/discovery.csv") if CONFIG.path_patching.prompts == "correct" else [],
        earlier=lambda wildcards: effects_of(wildcards.model, patched_into(wildcards)),
    output:
        effects=effects_of("{model}", SEARCHES) if SHARDS == 1 else [of_model("path_patching/{search}/{shard}.h5")],
    log:
        "<logs>/path_patch/{model}.log" if SHARDS == 1 else "<logs>/path_patch/{model}/{search}_{shard}.log",
    benchmark:
        "<benchmarks>/path_patch/{model}.tsv"
        if SHARDS == 1
        else "<benchmarks>/path_patch/{model}/{search}_{shard}.tsv"
    wildcard_constraints:
        search=one_of(SEARCHES),
        shard=one_of(map(str, range(SHARDS))),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.threads
    resources:
        **asks("path_patch", share=1 / SHARDS),
    params:
        searches=path_patching_searches,
        run=run_here,
        shards=SHARDS,
        options={
            **CONFIG.path_patching.model_dump(exclude={"shards"}),
            "seed": CONFIG.seed,
            "tf32": CONFIG.compute.tf32,
        },
        machine=machine,
        code=code("path_patch"),
    script:
        "../scripts/path_patch.py"


rule score_heads:
    """Scores of every head of a model in every search."""
    input:
        model=of_model("model.json"),
        tokens=tokens("discovery"),
        effects=lambda wildcards: effects_of(wildcards.model, SEARCHES),
    output:
        scores=of_model("path_patching.csv"),
    log:
        "<logs>/score_heads/{model}.log",
    benchmark:
        "<benchmarks>/score_heads/{model}.tsv"
    conda:
        ENVIRONMENT
    resources:
        **asks("score_heads"),
    params:
        searches=lambda wildcards: searches_of(wildcards.model, "letter", "token", "receivers", "receiver_heads"),
        code=code("score_heads"),
    script:
        "../scripts/score_heads.py"
