"""The stages of a study, in its order. Everything that needs to know them reads this table.

The workflow takes its targets, merged tables, figures and resources from it; the config what may be left out; the
findings their tables; config/README.md and docs/clusters.md their lists of stages and of resources. How to add one:
docs/architecture.md.
"""

from __future__ import annotations

from entity_mech.stages.stage import Figure, Job, Stage

_DATASET = Job("dataset", 2000, 10)
_LOAD = Job("model", 1500, 10, copies=5, minutes_per_gb=4)
_MERGE = Job("tables", 1000, 5)
_COMPARE = Job("model", 4000, 10, copies=6, minutes_per_gb=12)

STAGES = (
    Stage(
        "dataset",
        "Which prompts, which pairs of prompts, and where is each token role in them?",
        jobs={
            "choose_words": _DATASET,
            "make_prompts": _DATASET,
            "make_pairs": _DATASET,
            "make_fresh_pairs": Job("dataset", 3000, 15),
        },
    ),
    Stage(
        "prepare_models",
        "Are the models whole, and are they computed correctly?",
        jobs={"download_model": Job("here", 1000, 240), "prepare_model": _LOAD, "merge_adapter": _LOAD},
    ),
    Stage(
        "behaviour",
        "How well does each model track entities?",
        jobs={
            "measure_behaviour": Job("model", 2500, 5, copies=3, minutes_per_gb=4),
            "tabulate_behaviour": _MERGE,
        },
        tables={"behaviour": "", "answers": "models/{model}/behaviour/evaluation.csv"},
        found_in=("behaviour", "answers"),
        figures=(Figure("behaviour", "accuracy", "behaviour", "Accuracy", ("behaviour",)),),
    ),
    Stage(
        "activations",
        "What do the heads give at the tokens that later stages need?",
        jobs={"store_activations": Job("model", 3000, 5, copies=3, minutes_per_gb=4)},
    ),
    Stage(
        "role_map",
        "At which tokens does a model need its heads, and which tokens are enough?",
        jobs={"map_roles": Job("model", 3000, 10, copies=3, minutes_per_gb=15)},
        tables={"role_map": "models/{model}/role_map.csv"},
        figures=(Figure("role_map", "role_map", "circuit", "Role map", ("role_map",)),),
        optional=True,
    ),
    Stage(
        "path_patching",
        "Which heads matter to what? A chain of searches, every head, exactly",
        jobs={
            "path_patch": Job("model", 3000, 10, copies=3, minutes_per_gb=30),
            "score_heads": Job("between", 2000, 10),
        },
        tables={"path_patching": "models/{model}/path_patching.csv"},
    ),
    Stage(
        "prune_circuits",
        "Which of these heads does accuracy need?",
        jobs={
            "resolve_candidates": Job("model", 3000, 10, copies=3, minutes_per_gb=4),
            "prune_pairs": Job("model", 3000, 10, copies=3, minutes_per_gb=15),
            "prune_circuit": Job("model", 3000, 10, copies=3, minutes_per_gb=15),
            "tabulate_circuits": _MERGE,
        },
        tables={"circuits": "", "significance": "models/{model}/significance.csv"},
        found_in=("circuits",),
        figures=(
            Figure(
                "path_patching",
                "score_maps",
                "circuit",
                "Path-patching scores",
                ("path_patching", "circuits"),
                style=("font_size", "colormap"),
                per_model=True,
            ),
            Figure(
                "circuits",
                "circuit_diagram:circuit_of_tables",
                "circuit",
                "Circuit",
                ("circuits", "path_patching"),
                per_model=True,
            ),
        ),
    ),
    Stage(
        "faithfulness",
        "Does a circuit carry the model's accuracy, also in the other models?",
        jobs={"measure_faithfulness": Job("model", 3000, 5, copies=3, minutes_per_gb=8)},
        tables={
            "faithfulness": "faithfulness/{model}/{circuit}.csv",
            "circuit_answers": "faithfulness/{model}/{circuit}_answers.csv",
        },
        per="pair",
        found_in=("faithfulness", "circuit_answers"),
        figures=(Figure("faithfulness", "faithfulness", "circuit", "Faithfulness", ("faithfulness",)),),
    ),
    Stage(
        "completeness",
        "Does the circuit lack anything that the model uses?",
        jobs={"measure_completeness": Job("model", 3000, 10, copies=3, minutes_per_gb=10)},
        tables={"completeness": "models/{model}/completeness.csv"},
        figures=(Figure("completeness", "completeness", "circuit", "Completeness", ("completeness",)),),
        optional=True,
    ),
    Stage(
        "overlap",
        "Which heads do the models' circuits share?",
        jobs={"compare_circuits": Job("tables", 1500, 5)},
        tables={"overlap": "", "score_correlation": ""},
        found_in=("overlap",),
        figures=(Figure("overlap", "overlap", "circuit", "Overlap", ("overlap", "score_correlation")),),
        optional=True,
    ),
    Stage(
        "circuit_size",
        "How does accuracy grow with the number of heads?",
        jobs={"measure_circuit_size": Job("model", 3000, 10, copies=3, minutes_per_gb=10)},
        tables={
            "circuit_size": "models/{model}/circuit_size.csv",
            "circuit_size_summary": "models/{model}/circuit_size_summary.csv",
        },
        figures=(
            Figure(
                "circuit_size", "circuit_size", "circuit", "Circuit size", ("circuit_size", "circuit_size_summary")
            ),
        ),
        optional=True,
    ),
    Stage(
        "dcm",
        "Does a group of heads carry the object, the label or the position?",
        jobs={"train_dcm": Job("model", 4000, 15, copies=4, minutes_per_gb=30)},
        tables={
            "dcm": "dcm/{model}.csv",
            "dcm_curves": "dcm/{model}_curves.csv",
            "dcm_heads": "dcm/{model}_heads.csv",
            "dcm_answers": "dcm/{model}_answers.csv",
        },
        found_in=("dcm", "dcm_answers"),
        figures=(
            Figure("dcm", "dcm", "functions", "What each group carries", ("dcm",)),
            Figure("dcm_curves", "dcm:dcm_curves", "functions", "Training of the masks", ("dcm_curves",)),
        ),
    ),
    Stage(
        "patched_heads",
        "Do the heads that carry something do so in every model?",
        jobs={"patch_dcm_heads": Job("model", 4000, 10, copies=4, minutes_per_gb=15)},
        tables={
            "patched_heads": "patched_heads/{model}/{circuit}.csv",
            "patched_answers": "patched_heads/{model}/{circuit}_answers.csv",
        },
        per="pair",
        found_in=("patched_heads", "patched_answers"),
        figures=(
            Figure("patched_heads", "patched_heads", "functions", "Chosen heads in every model", ("patched_heads",)),
        ),
        optional=True,
    ),
    Stage(
        "probes",
        "What does a group that carries the position mean by it?",
        jobs={"probe_position": Job("model", 4000, 20, copies=4, minutes_per_gb=40)},
        tables={"probes": "probes/{model}.csv", "probe_masks": "probes/{model}_masks.csv"},
        figures=(
            Figure(
                "probes",
                "patched_heads:probes_of_tables",
                "functions",
                "What position means",
                ("probes", "probe_masks"),
            ),
        ),
        optional=True,
    ),
    Stage(
        "cmap",
        "Which group's outputs bring the fine-tuned model's gain into the base?",
        jobs={"patch_across_models": _COMPARE},
        tables={"cmap": "cmap/{base}__{model}.csv"},
        per="fine_tuned",
        found_in=("cmap",),
        figures=(Figure("cmap", "cmap", "improved", "Patching across models", ("cmap",)),),
    ),
    Stage(
        "cmap_inputs",
        "Which inputs of a group bring the gain: queries, keys or values?",
        jobs={"patch_inputs_across_models": _COMPARE},
        tables={"cmap_inputs": "cmap_inputs/{base}__{model}.csv"},
        per="fine_tuned",
        figures=(
            Figure(
                "cmap_inputs",
                "cmap_inputs",
                "improved",
                "Inputs of groups across models",
                ("cmap_inputs", "behaviour"),
            ),
        ),
        optional=True,
    ),
    Stage(
        "knockout",
        "From which layer on is attention between two tokens no longer needed?",
        jobs={"knock_out_attention": Job("model", 3000, 10, copies=3, minutes_per_gb=10)},
        tables={"knockout": "models/{model}/knockout.csv"},
        figures=(Figure("knockout", "knockout", "heads", "Attention knockout", ("knockout",)),),
        optional=True,
    ),
    Stage(
        "attention",
        "Where do the strongest heads look?",
        jobs={"look_at_attention": Job("model", 3000, 5, copies=3, minutes_per_gb=5)},
        tables={
            "attention": "models/{model}/attention.csv",
            "attention_prompt": "models/{model}/attention_prompt.csv",
        },
        figures=(
            Figure(
                "attention",
                "attention",
                "heads",
                "Attention of the strongest heads",
                ("attention", "attention_prompt"),
                per_model=True,
            ),
        ),
        optional=True,
    ),
    Stage(
        "findings",
        "What was found? Findings in words, the run's page, and what belongs to all stages",
        jobs={
            "write_config": Job("here", 500, 2),
            "merge_tables": _MERGE,
            "draw": Job("tables", 1500, 10),
            "write_findings": Job("tables", 1500, 5),
            "write_index": Job("tables", 1500, 5),
        },
    ),
)
OPTIONAL = tuple(stage.name for stage in STAGES if stage.optional)
FIGURES = tuple(figure for stage in STAGES for figure in stage.figures)
JOBS = {rule: job for stage in STAGES for rule, job in stage.jobs.items()}


def rules_by_kind() -> dict[str, list[str]]:
    """Names of rules by the kind of their jobs, for the cluster's profile: every figure has a rule of its own."""
    found: dict[str, list[str]] = {"model": [], "dataset": [], "tables": [], "between": [], "here": []}
    for rule, job in JOBS.items():
        found[job.kind] += [f"draw_{figure.name}" for figure in FIGURES] if rule == "draw" else [rule]
    return found
