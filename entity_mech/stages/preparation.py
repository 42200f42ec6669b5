"""The stages that come before any search: prompts, models, what they answer and what their heads give."""

from __future__ import annotations

from entity_mech.stages.stage import Figure, Job, Stage

_DATASET = Job("dataset", 2000, 10)
_LOAD = Job("model", 1500, 10, copies=5, minutes_per_gb=4)

PREPARATION = (
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
            "tabulate_behaviour": Job("tables", 1000, 2),
        },
        tables={"behaviour": "", "answers": "models/{model}/behaviour/evaluation.csv"},
        found_in=("behaviour", "answers"),
        section="behaviour",
        figures=(
            Figure(
                "behaviour",
                "Accuracy",
                ("behaviour",),
                draw="accuracy",
                caption="""
                    How often each model's most likely next token, of its whole vocabulary, is the correct object:
                    over all queries, and by which segment is asked for. Upright lines: the correct object is the
                    most likely of the objects in the prompt. Dotted: chance, 1/{{ config.task.boxes }}. Nothing is
                    ablated. {{ evaluated }}; seed {{ config.seed }}.
                """,
            ),
        ),
    ),
    Stage(
        "activations",
        "What do the heads give at the tokens that later stages need?",
        jobs={"store_activations": Job("model", 3000, 5, copies=3, minutes_per_gb=4)},
    ),
)
