# The chain of path-patching searches: which heads matter to what.
# Outputs: models/{model}/path_patching.csv and path_patching_effects.h5, from one job a model or from shards of its searches

PATH_PATCHING = {
    **CONFIG.path_patching.model_dump(exclude={"shards"}),
    "seed": CONFIG.seed,
    "tf32": CONFIG.compute.tf32,
}

if CONFIG.path_patching.shards == 1:

    include: "path_patching_whole.smk"

else:

    include: "path_patching_shards.smk"


rule path_patching:
    """Scores of all heads of all models."""
    input:
        expand("<results>/models/{model}/path_patching.csv", model=MODELS),
    localrule: True
