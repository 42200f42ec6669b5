"""The stages that find each model's circuit and say how much of the model it is."""

from __future__ import annotations

from entity_mech.stages.stage import Figure, Job, Stage

CIRCUIT = (
    Stage(
        "role_map",
        "At which tokens does a model need its heads, and which tokens are enough?",
        jobs={"map_roles": Job("model", 3000, 10, copies=3, minutes_per_gb=15)},
        tables={"role_map": "models/{model}/role_map.csv"},
        found_in=("role_map",),
        section="circuit",
        figures=(
            Figure(
                "role_map",
                "Role map",
                ("role_map",),
                caption="""
                    Above: accuracy when all heads at one token give their mean output (is the token needed?).
                    Below: accuracy when only the heads at the marked tokens give their own output (are these
                    enough?). {{ mean_ablation }}. {{ evaluated }}; seed {{ config.seed }}.
                """,
            ),
        ),
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
        needs={"path_patching": "scores"},
    ),
    Stage(
        "given",
        "Which scores and circuits were given instead of being searched for? (where the config gives some)",
        jobs={"take_scores": Job("between", 1500, 3), "take_circuit": Job("between", 1500, 3)},
        tables={
            "given_scores": "models/{model}/given_scores.csv",
            "given_circuits": "models/{model}/given_circuit.csv",
        },
        needs={"given_scores": "given_scores", "given_circuits": "given_circuit"},
        found_in=("given_scores", "given_circuits"),
    ),
    Stage(
        "prune_circuits",
        "Which of these heads does accuracy need?",
        jobs={
            "resolve_candidates": Job("model", 3000, 10, copies=3, minutes_per_gb=4),
            "prune_pairs": Job("model", 3000, 10, copies=3, minutes_per_gb=15),
            "prune_circuit": Job("model", 3000, 10, copies=3, minutes_per_gb=15),
            "tabulate_circuits": Job("tables", 1000, 2),
        },
        tables={
            "circuits": "",
            "significance": "models/{model}/significance.csv",
            "pruning": "models/{model}/pruning.csv",
        },
        needs={"significance": "pruning", "pruning": "pruning"},
        files=("circuits/{model}.json",),
        found_in=("circuits", "pruning"),
        section="circuit",
        figures=(
            Figure(
                "path_patching",
                "Path-patching scores",
                ("path_patching", "circuits"),
                style=("font_size", "colormap"),
                per_model=True,
                needs="scores",
                draw="score_maps",
                caption="""
                    Score of every head in every search: mean relative change of the correct object's probability
                    when only the head's path to the search's receivers carries its output on a corrupted prompt.
                    Red: the answer suffers. {% if config.path_patching.null_map %} Beside it the null, with outputs
                    from another prompt of the same answer and position, in the same colours
                    {%- if config.path_patching.mode == "refined" %}, for searches that patch into the logits
                    {%- endif %}. {%- endif %} {% if config.path_patching.mode == "refined" %} First-order scores
                    chose which heads were run exactly; the others keep their first-order scores (exact: False in
                    the table). {%- endif %} {{ scored }}; nothing is ablated; seed {{ config.seed }}; single heads
                    have no interval.
                """,
            ),
            Figure(
                "head_effects",
                "Effect of each head",
                ("circuits",),
                per_model=True,
                needs="scores",
                caption="""
                    Path-patching score of every candidate, group by group and the strongest first: mean relative
                    change of the correct object's probability when only the head's path to the search's receivers
                    carries its output on a corrupted prompt. Names are layer.head. Grey: pruned away, because
                    accuracy falls by less than {{ least_drop }} of itself without the head. {{ given }}
                    {{ scored }}; nothing is ablated for the scores; seed {{ config.seed }}; single heads have no
                    interval.
                """,
            ),
            Figure(
                "circuits",
                "Circuit",
                ("circuits", "path_patching", "stability"),
                per_model=True,
                draw="circuit_diagram:circuit_of_tables",
                caption="""
                    Heads of the circuit by layer, above the word at which each group sits, and the inputs (q, k, v)
                    that each group feeds. A candidate is pruned away when accuracy falls by less than
                    {{ least_drop }} of itself without it. {{ given }} Hollow: kept in fewer than half of the
                    resamples of scenes. {{ mean_ablation }}. n =
                    {{ config.prompts.pruning }} prompts of the pruning split; seed {{ config.seed }}; no interval.
                """,
            ),
        ),
    ),
    Stage(
        "stability",
        "How often would other scenes give the same heads?",
        jobs={"resample_scenes": Job("tables", 2000, 5)},
        tables={"stability": "models/{model}/stability.csv"},
        needs={"stability": "effects"},
        found_in=("stability",),
    ),
    Stage(
        "wordings",
        "Are the heads the task's, or those of its wording? (where `stability.wordings` lists some)",
        jobs={
            "make_reworded_prompts": Job("dataset", 1500, 4),
            "try_wordings": Job("model", 3000, 10, copies=3, minutes_per_gb=40),
        },
        tables={
            "wordings": "models/{model}/wordings.csv",
            "wording_heads": "models/{model}/wording_heads.csv",
        },
        needs={"wordings": "pruning", "wording_heads": "pruning"},
        found_in=("wordings",),
        optional=True,
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
        section="circuit",
        figures=(
            Figure(
                "faithfulness",
                "Faithfulness",
                ("faithfulness",),
                caption="""
                    Accuracy of {% if config.cross_models == "base" %} circuits (rows) in models (columns): the
                    base's in each, each in the base, and each in its own {%- else %} every circuit (rows) in every
                    model (columns) {%- endif %}, as a share of the whole model's. Last row: the ceiling, all heads
                    at the chain's tokens. Keeps: share of the model's right answers that the circuit gives too
                    (recall). Agrees: share of prompts to which both give the same answer, right or wrong.
                    {% if config.faithfulness.random_circuits %} Random: mean of
                    {{ config.faithfulness.random_circuits }} circuits of the same size. {%- endif %}
                    {{ mean_ablation }}. {{ evaluated }}; seed {{ config.seed }}.
                """,
            ),
        ),
    ),
    Stage(
        "completeness",
        "Does the circuit lack anything that the model uses?",
        jobs={"measure_completeness": Job("model", 3000, 10, copies=3, minutes_per_gb=10)},
        tables={"completeness": "models/{model}/completeness.csv"},
        section="circuit",
        figures=(
            Figure(
                "completeness",
                "Completeness",
                ("completeness",),
                caption="""
                    Accuracy of the circuit (upright) and of the whole model (across) when the same heads K are
                    taken from both: random halves of the circuit, and each whole group. On the diagonal the circuit
                    misses nothing. {{ mean_ablation }}. {{ evaluated }}; seed {{ config.seed }}.
                """,
            ),
        ),
        optional=True,
    ),
    Stage(
        "overlap",
        "Which heads do the models' circuits share?",
        jobs={"compare_circuits": Job("tables", 1500, 3)},
        tables={"overlap": "", "score_correlation": ""},
        found_in=("overlap",),
        section="circuit",
        figures=(
            Figure(
                "overlap",
                "Overlap",
                ("overlap", "score_correlation"),
                caption="""
                    Heads that two models' circuits share, group by group, as a share of the heads in either
                    (Jaccard) with their number at the right, beside what two random sets of these sizes share; and
                    the rank correlation (Spearman) of the two models' score maps. Scores: {{ scored }}; seed
                    {{ config.seed }}; counts have no interval.
                """,
            ),
        ),
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
        needs={"circuit_size": "scores", "circuit_size_summary": "scores"},
        section="circuit",
        figures=(
            Figure(
                "circuit_size",
                "Circuit size",
                ("circuit_size", "circuit_size_summary"),
                caption="""
                    Accuracy of circuits of the k heads of each search with the most negative scores, by their
                    number of heads; filled: the knee, the smallest with 95% of the accuracy at the largest; dashed:
                    the whole model. {{ mean_ablation }}. {{ evaluated }}; seed {{ config.seed }}.
                """,
            ),
        ),
        optional=True,
    ),
)
