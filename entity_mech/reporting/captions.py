"""The caption of every figure: n, metric, ablation, seed, interval.

Captions are Jinja templates over the run's config, so that they say what this run did. `caption` fills one in for
index.html; `report_template` gives the same text for Snakemake's report, whose files in workflow/report are written
by `python -m entity_mech.reporting.captions workflow/report` and held to these by a test.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entity_mech.files import write_text
from entity_mech.reporting.render import fill_in

# Parts of several captions, by the name under which they stand there.
SHARED = {
    "evaluated": """
        n = {{ config.prompts.evaluation }} prompts of the evaluation split; 95% intervals over scenes
    """,
    "mean_ablation": """
        Heads that are left out give their mean output (mean ablation)
    """,
    # How many prompts a model answers correctly is known only after the run: the score maps say so.
    "scored": """
        {% if config.path_patching.prompts == "correct" %} n: as many of the {{ config.prompts.discovery }} prompts of
        the discovery split as the model answers correctly (the number stands below its score maps)
        {% else %} n = {{ config.prompts.discovery }} prompts of the discovery split {% endif %}
    """,
    "patched": """
        {% if config.cmap.directions | length > 1 %} one model
        {% elif "into_base" in config.cmap.directions %} the base
        {% else %} the fine-tuned model {% endif %}
    """,
    "donors": """
        {% if config.cmap.directions | length > 1 %} the other model's
        {% elif "into_base" in config.cmap.directions %} the fine-tuned model's
        {% else %} the base's {% endif %}
    """,
}
CAPTIONS = {
    "behaviour": """
        How often each model's most likely next token, of its whole vocabulary, is the correct object: over all
        queries, and by which segment is asked for. Upright lines: the correct object is the most likely of the
        objects in the prompt. Dotted: chance, 1/{{ config.task.boxes }}. Nothing is ablated. {{ evaluated }}; seed
        {{ config.seed }}.
    """,
    "path_patching": """
        Score of every head in every search: mean relative change of the correct object's probability when only
        the head's path to the search's receivers carries its output on a corrupted prompt. Red: the answer suffers.
        {% if config.path_patching.null_map %} Beside it the null, with outputs from another prompt of the same
        answer and position, in the same colours
        {%- if config.path_patching.mode == "refined" %}, for searches that patch into the logits {%- endif %}.
        {%- endif %}
        {% if config.path_patching.mode == "refined" %} First-order scores chose which heads were run exactly; the
        others keep their first-order scores (exact: False in the table).
        {%- endif %} {{ scored }}; nothing is ablated; seed {{ config.seed }}; single heads have no interval.
    """,
    "circuits": """
        Heads of the circuit by layer, above the word at which each group sits, and the inputs (q, k, v) that
        each group feeds. A candidate is pruned away when accuracy falls by less than
        {{ config.pruning.threshold }} of itself without it. {{ mean_ablation }}. n = {{ config.prompts.pruning }}
        prompts of the pruning split; seed {{ config.seed }}; no interval.
    """,
    "faithfulness": """
        Accuracy of
        {% if config.cross_models == "base" %} circuits (rows) in models (columns): the base's in each, each in the
        base, and each in its own {%- else %} every circuit (rows) in every model (columns) {%- endif %}, as a
        share of the whole model's. Last row: the ceiling, all heads at the chain's tokens.
        {% if config.faithfulness.random_circuits %} Random: mean of
        {{ config.faithfulness.random_circuits }} circuits of the same size. {%- endif %}
        {{ mean_ablation }}. {{ evaluated }}; seed {{ config.seed }}.
    """,
    "completeness": """
        Accuracy of the circuit (upright) and of the whole model (across) when the same heads K are taken from
        both: random halves of the circuit, and each whole group. On the diagonal the circuit misses nothing.
        {{ mean_ablation }}. {{ evaluated }}; seed {{ config.seed }}.
    """,
    "overlap": """
        Heads that two models' circuits share, group by group, as a share of the heads in either (Jaccard) with
        their number at the right, beside what two random sets of these sizes share; and the rank correlation
        (Spearman) of the two models' score maps. Scores: {{ scored }};
        seed {{ config.seed }}; counts have no interval.
    """,
    "circuit_size": """
        Accuracy of circuits of the k heads of each search with the most negative scores, by their number of
        heads; filled: the knee, the smallest with 95% of the accuracy at the largest; dashed: the whole model.
        {{ mean_ablation }}. {{ evaluated }}; seed {{ config.seed }}.
    """,
    "role_map": """
        Above: accuracy when all heads at one token give their mean output (is the token needed?). Below:
        accuracy when only the heads at the marked tokens give their own output (are these enough?).
        {{ mean_ablation }}. {{ evaluated }}; seed {{ config.seed }}.
    """,
    "dcm": """
        Accuracy on counterfactual pairs when the heads that a trained mask chose are patched from the source
        prompt: does the group carry the {{ config.dcm.desiderata | join(" or the ") }}? Ticks: no head and every
        head of the group patched. At the right: heads chosen, of the group's. n = {{ config.dcm.pairs.test }} test
        pairs each; nothing is ablated; 95% intervals over scenes; seed {{ config.seed }}.
    """,
    "dcm_curves": """
        Accuracy of the rounded mask on validation pairs (above) and loss, the target's mean logit with its sign
        turned plus the penalty (below), by training step. n = {{ config.dcm.pairs.validation }} validation pairs;
        Adam, step {{ config.dcm.learning_rate }}, penalty {{ config.dcm.penalty }} a head, {{ config.dcm.epochs }}
        epochs of {{ config.dcm.pairs.train }} pairs; nothing is ablated; seed {{ config.seed }}; no interval.
    """,
    "patched_heads": """
        Accuracy on fresh pairs when the heads that a circuit's masks chose (rows) are patched from the source
        prompt, in every model (columns). The circuit's own model is framed; grey: no head was chosen
        {%- if config.cross_models == "base" %}, or the two were not paired {%- endif %}. n =
        {{ config.patching.resamples }} resamples of {{ config.patching.pairs }} pairs; nothing is ablated; 95%
        intervals over scenes, in the table; seed {{ config.seed }}.
    """,
    "probes": """
        Accuracy on the position pairs with one change to the source prompt each, when heads of the probed group
        are patched: those that carry the position in each model, those of the base, and those that a mask
        trained on the probe itself chose. Where it stays as high as on the plain pairs, the change is no part
        of what position means. n = {{ config.probes.pairs.test }} pairs each; nothing is ablated; 95% intervals
        over scenes; seed {{ config.seed }}.
    """,
    "cmap": """
        Accuracy of {{ patched }} when outputs of chosen heads are {{ donors }}, on the same prompt: group by group,
        their union, and the whole circuit.
        {% if config.cmap.random_draws %} Dots: as many random heads at the same tokens
        ({{ config.cmap.random_draws }} draws). {%- endif %}
        Lines: the two models by themselves. Nothing is ablated. {{ evaluated }}; seed {{ config.seed }}.
    """,
    "cmap_inputs": """
        Accuracy of {{ patched }} when queries, keys or values of a group's heads are {{ donors }}: q at the group's
        token, k and v at every position before it.
        {% if config.cmap.random_draws %} Dots: as many random heads. {%- endif %}
        Lines: the two models by themselves. Nothing is ablated. {{ evaluated }}; seed {{ config.seed }}.
    """,
    "knockout": """
        Accuracy when attention from one token to another is blocked from a layer (counted from 0) to the last.
        Dotted: a random token instead. Nothing is ablated. {{ evaluated }}; seed {{ config.seed }}.
    """,
    "attention": """
        Above: mean attention of each group's strongest heads from the group's token to each token role and each
        segment. Below: one prompt, its tokens coloured by the attention of each group's strongest head. Nothing is
        ablated. {{ evaluated }}; seed {{ config.seed }}.
    """,
}


def template(name: str) -> str:
    """The caption of a family of figures as a Jinja template over `config`, on one line."""
    text = _one_line(CAPTIONS[name])
    used = [part for part in SHARED if f"{{{{ {part} }}}}" in text]
    return "".join(f"{{% set {part} %}}{_trimmed(SHARED[part])}{{% endset %}}" for part in used) + text


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _trimmed(text: str) -> str:
    """On one line, without spaces around what stands in the branches of a condition."""
    return re.sub(r"\s*({% .*? %})\s*", r"\1", _one_line(text))


def caption(name: str, config: Mapping[str, Any]) -> str:
    """The caption of a family of figures, for this config (with all its defaults)."""
    return _one_line(fill_in(template(name), config=config))


def report_template(name: str) -> str:
    """The caption as the Jinja template that Snakemake's report renders."""
    text = "{% set config = snakemake.config %}" + template(name)
    return "\n".join(textwrap.wrap(text, 110, break_long_words=False, break_on_hyphens=False)) + "\n"


def write_templates(folder: Path) -> None:
    """All captions as .rst templates."""
    for name in CAPTIONS:
        write_text(folder / f"{name}.rst", report_template(name))


if __name__ == "__main__":
    write_templates(Path(sys.argv[1]))
