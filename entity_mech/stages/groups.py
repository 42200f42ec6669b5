"""The stages about the groups of a circuit: what they carry, what fine-tuning improved, where heads look."""

from __future__ import annotations

from entity_mech.stages.stage import Figure, Job, Stage

_COMPARE = Job("model", 4000, 10, copies=6, minutes_per_gb=12)

GROUPS = (
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
        section="functions",
        figures=(
            Figure(
                "dcm",
                "What each group carries",
                ("dcm",),
                caption="""
                    Accuracy on counterfactual pairs when the heads that a trained mask chose are patched from the
                    source prompt: does the group carry the
                    {{ config.dcm.desiderata | map("replace", "_", " ") | join(" or the ") }}? Ticks: no head and
                    every head of the group patched. At the right: heads chosen, of the group's; in brackets where
                    they are not shown to do more than no head, so that none is used later. n =
                    {{ config.dcm.pairs.test }} test pairs each; nothing is ablated; 95% intervals over scenes; seed
                    {{ config.seed }}.
                """,
            ),
            Figure(
                "dcm_curves",
                "Training of the masks",
                ("dcm_curves",),
                draw="dcm:dcm_curves",
                caption="""
                    Accuracy of the rounded mask on validation pairs (above) and loss, the target's mean logit with
                    its sign turned plus the penalty (below), by training step. n =
                    {{ config.dcm.pairs.validation }} validation pairs; Adam, step {{ config.dcm.learning_rate }},
                    penalty {{ config.dcm.penalty }} a head, {{ config.dcm.epochs }} epochs of
                    {{ config.dcm.pairs.train }} pairs; nothing is ablated; seed {{ config.seed }}; no interval.
                """,
            ),
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
        section="functions",
        figures=(
            Figure(
                "patched_heads",
                "Chosen heads in every model",
                ("patched_heads",),
                caption="""
                    Accuracy on fresh pairs when the heads that a circuit's masks chose (rows) are patched from the
                    source prompt, in every model (columns). The circuit's own model is framed; grey: no head was
                    chosen {%- if config.cross_models == "base" %}, or the two were not paired {%- endif %}. n =
                    {{ config.patching.resamples }} resamples of {{ config.patching.pairs }} pairs; nothing is
                    ablated; 95% intervals over scenes, in the table; seed {{ config.seed }}.
                """,
            ),
        ),
        optional=True,
    ),
    Stage(
        "probes",
        "What does a group that carries the position mean by it?",
        jobs={"probe_position": Job("model", 4000, 20, copies=4, minutes_per_gb=40)},
        tables={"probes": "probes/{model}.csv", "probe_masks": "probes/{model}_masks.csv"},
        section="functions",
        figures=(
            Figure(
                "probes",
                "What position means",
                ("probes", "probe_masks"),
                draw="patched_heads:probes_of_tables",
                caption="""
                    Accuracy on the position pairs with one change to the source prompt each, when heads of the
                    probed group are patched: those that carry the position in each model, those of the base, and
                    those that a mask trained on the probe itself chose. Where it stays as high as on the plain
                    pairs, the change is no part of what position means. n = {{ config.probes.pairs.test }} pairs
                    each; nothing is ablated; 95% intervals over scenes; seed {{ config.seed }}.
                """,
            ),
        ),
        optional=True,
    ),
    Stage(
        "cmap",
        "Which group's heads bring the fine-tuned model's gain into the base?",
        jobs={"patch_across_models": _COMPARE},
        tables={"cmap": "cmap/{base}__{model}.csv"},
        per="fine_tuned",
        found_in=("cmap",),
        section="improved",
        figures=(
            Figure(
                "cmap",
                "Patching across models",
                ("cmap",),
                caption="""
                    Accuracy of {{ patched }} when what chosen heads add to the stream is {{ donors }}, on the same
                    prompt: group by group, their union, and the whole circuit. Outputs: what the heads add in the
                    donor, with all that happens before them there. Own weights: the donor's heads on the patched
                    model's own inputs, group by group. {% if config.cmap.random_draws %} Dots: as
                    many random heads at the same tokens ({{ config.cmap.random_draws }} draws). {%- endif %} Lines:
                    the two models by themselves. Nothing is ablated. {{ evaluated }}; seed {{ config.seed }}.
                """,
            ),
        ),
    ),
    Stage(
        "cmap_inputs",
        "Which inputs of a group bring the gain: queries, keys or values?",
        jobs={"patch_inputs_across_models": _COMPARE},
        tables={"cmap_inputs": "cmap_inputs/{base}__{model}.csv"},
        per="fine_tuned",
        section="improved",
        figures=(
            Figure(
                "cmap_inputs",
                "Inputs of groups across models",
                ("cmap_inputs", "behaviour"),
                caption="""
                    Accuracy of {{ patched }} when queries, keys or values of a group's heads are {{ donors }}: q at
                    the group's token, k and v at every position before it. {% if config.cmap.random_draws %} Dots:
                    as many random heads. {%- endif %} Lines: the two models by themselves. Nothing is ablated.
                    {{ evaluated }}; seed {{ config.seed }}.
                """,
            ),
        ),
        optional=True,
    ),
    Stage(
        "knockout",
        "From which layer on is attention between two tokens no longer needed?",
        jobs={"knock_out_attention": Job("model", 3000, 10, copies=3, minutes_per_gb=10)},
        tables={"knockout": "models/{model}/knockout.csv"},
        section="heads",
        figures=(
            Figure(
                "knockout",
                "Attention knockout",
                ("knockout",),
                caption="""
                    Accuracy when attention from one token to another is blocked from a layer (counted from 0) to
                    the last. Dotted: a random token instead. Nothing is ablated. {{ evaluated }}; seed
                    {{ config.seed }}.
                """,
            ),
        ),
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
        section="heads",
        figures=(
            Figure(
                "attention",
                "Attention of the strongest heads",
                ("attention", "attention_prompt"),
                per_model=True,
                caption="""
                    Above: mean attention of each group's strongest heads from the group's token to each token role
                    and each segment. Below: one prompt, its tokens coloured by the attention of each group's
                    strongest head. Nothing is ablated. {{ evaluated }}; seed {{ config.seed }}.
                """,
            ),
        ),
        optional=True,
    ),
)
