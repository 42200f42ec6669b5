"""The caption of every figure: n, metric, ablation, seed, interval.

Captions are templates over the run's config (`{prompts[evaluation]}`). `caption` fills one in for index.html;
`report_template` gives the same text for Snakemake's report, whose files in workflow/report are written by
`python -m entity_mech.reporting.captions workflow/report` and held to these by a test.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entity_mech.files import write_text

CAPTIONS = {
    "behaviour": """
        How often each model's likeliest next token, of its whole vocabulary, is the right object: over all
        queries, and by which segment is asked for. Upright lines: the right object is the likeliest of the objects
        in the prompt. Dotted: chance, 1/{task[boxes]}. Nothing is ablated. n = {prompts[evaluation]} prompts of
        the evaluation split; 95% intervals over scenes; seed {seed}.
    """,
    "path_patching": """
        Score of every head in every search: mean relative change of the right object's probability when only
        the head's path to the search's receivers carries its output on a corrupted prompt. Red: the answer
        suffers. Beside it the null, with outputs from another prompt of the same answer and position, in the
        same colours. n = {prompts[discovery]} prompts of the discovery split ({path_patching[prompts]});
        nothing is ablated; seed {seed}; single heads have no interval.
    """,
    "circuits": """
        Heads of the circuit by layer, above the word at which each group sits, and the inputs (q, k, v) that
        each group feeds. A candidate is pruned away when accuracy falls by less than {pruning[threshold]} of
        itself without it. Heads that are left out give their mean output (mean ablation). n =
        {prompts[pruning]} prompts of the pruning split; seed {seed}; no interval.
    """,
    "faithfulness": """
        Accuracy of every circuit (rows) in every model (columns), as a share of the whole model's. Last row:
        the ceiling, all heads at the chain's tokens. Random: mean of {faithfulness[random_circuits]} circuits
        of the same size. Heads that are left out give their mean output (mean ablation). n =
        {prompts[evaluation]} prompts of the evaluation split; 95% intervals over scenes; seed {seed}.
    """,
    "completeness": """
        Accuracy of the circuit (upright) and of the whole model (across) when the same heads K are taken from
        both: random halves of the circuit, and each whole group. On the diagonal the circuit misses nothing.
        Heads that are left out give their mean output (mean ablation). n = {prompts[evaluation]} prompts of the
        evaluation split; 95% intervals over scenes; seed {seed}.
    """,
    "overlap": """
        Heads that two models' circuits share, group by group, as a share of the heads in either (Jaccard) with
        their number at the right, beside what two random sets of these sizes share; and the rank correlation
        (Spearman) of the two models' score maps. Scores on n = {prompts[discovery]} prompts; seed {seed};
        counts have no interval.
    """,
    "circuit_size": """
        Accuracy of circuits of the k heads of each search with the most negative scores, by their number of
        heads; filled: the knee, the smallest with 95% of the accuracy at the largest; dashed: the whole model.
        Heads that are left out give their mean output (mean ablation). n = {prompts[evaluation]} prompts of the
        evaluation split; 95% intervals over scenes; seed {seed}.
    """,
    "role_map": """
        Above: accuracy when all heads at one token give their mean output (is the token needed?). Below:
        accuracy when only the heads at the marked tokens give their own output (are these enough?). Heads that
        are left out give their mean output (mean ablation). n = {prompts[evaluation]} prompts of the evaluation
        split; 95% intervals over scenes; seed {seed}.
    """,
    "dcm": """
        Accuracy on counterfactual pairs when the heads that a trained mask chose are patched from the source
        prompt: does the group carry the object, the label or the position? Ticks: no head and every head of the
        group patched. At the right: heads chosen, of the group's. n = {dcm[pairs][test]} test pairs each;
        nothing is ablated; 95% intervals over scenes; seed {seed}.
    """,
    "dcm_curves": """
        Accuracy of the rounded mask on validation pairs (above) and loss, the target's mean logit with its sign
        turned plus the penalty (below), by training step. n = {dcm[pairs][validation]} validation pairs; Adam,
        step {dcm[learning_rate]}, penalty {dcm[penalty]} a head, {dcm[epochs]} epochs of {dcm[pairs][train]}
        pairs; nothing is ablated; seed {seed}; no interval.
    """,
    "patched_heads": """
        Accuracy on fresh pairs when the heads that a circuit's masks chose (rows) are patched from the source
        prompt, in every model (columns). The circuit's own model is framed; grey: no head was chosen. n =
        {patching[resamples]} resamples of {patching[pairs]} pairs; nothing is ablated; 95% intervals over
        scenes, in the table; seed {seed}.
    """,
    "probes": """
        Accuracy on the position pairs with one change to the source prompt each, when heads of the probed group
        are patched: those that carry the position in each model, those of the base, and those that a mask
        trained on the probe itself chose. Where it stays as high as on the plain pairs, the change is no part
        of what position means. n = {probes[pairs][test]} pairs each; nothing is ablated; 95% intervals over
        scenes; seed {seed}.
    """,
    "cmap": """
        Accuracy of one model when outputs of chosen heads are the other model's, on the same prompt: group by
        group, their union, and the whole circuit. Dots: as many random heads at the same tokens
        ({cmap[random_draws]} draws). Lines: the two models by themselves. Nothing is ablated. n =
        {prompts[evaluation]} prompts of the evaluation split; 95% intervals over scenes; seed {seed}.
    """,
    "cmap_inputs": """
        Accuracy of one model when queries, keys or values of a group's heads are the other model's: q at the
        group's token, k and v at every position before it. Dots: as many random heads. Lines: the two models by
        themselves. Nothing is ablated. n = {prompts[evaluation]} prompts of the evaluation split; 95% intervals
        over scenes; seed {seed}.
    """,
    "knockout": """
        Accuracy when attention from one token to another is blocked from a layer (counted from 0) to the last.
        Dotted: a random token instead. Nothing is ablated. n = {prompts[evaluation]} prompts of the evaluation
        split; 95% intervals over scenes; seed {seed}.
    """,
    "attention": """
        Above: mean attention of each group's strongest heads from the group's token to each token role and each
        segment. Below: one prompt, its tokens coloured by the attention of each group's strongest head. Nothing is
        ablated. n = {prompts[evaluation]} prompts of the evaluation split; 95% intervals over scenes; seed
        {seed}.
    """,
}


def caption(name: str, config: Mapping[str, Any]) -> str:
    """The caption of a family of figures, for this config (with all its defaults)."""
    return " ".join(CAPTIONS[name].split()).format_map(config)


def report_template(name: str) -> str:
    """The caption as the Jinja template that Snakemake's report renders."""

    def jinja(found: re.Match[str]) -> str:
        keys = "".join(f'["{key}"]' for key in re.findall(r"\w+", found.group(1)))
        return f"{{{{ snakemake.config{keys} }}}}"

    text = re.sub(r"\{([\w\[\]]+)\}", jinja, " ".join(CAPTIONS[name].split()))
    return "\n".join(textwrap.wrap(text, 110, break_long_words=False, break_on_hyphens=False)) + "\n"


def write_templates(folder: Path) -> None:
    """All captions as .rst templates."""
    for name in CAPTIONS:
        write_text(folder / f"{name}.rst", report_template(name))


if __name__ == "__main__":
    write_templates(Path(sys.argv[1]))
