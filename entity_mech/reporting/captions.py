"""The caption of every figure: n, metric, ablation, seed, interval.

Captions stand in the table of stages. They are Jinja templates over the run's config, so that they say what this run
did; `SHARED` has parts of several. `caption` fills one in for
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
from entity_mech.stages.table import FIGURES

# Parts of several captions, by the name under which they stand there.
SHARED = {
    "evaluated": """
        n = {{ config.prompts.evaluation }} prompts of the evaluation split; 95% intervals over scenes
    """,
    "mean_ablation": """
        Heads that are left out give their mean output (mean ablation {%- if config.ablation == "role" %}, at the
        chain's tokens by role, over prompts of varying layout {%- endif %})
    """,
    # The threshold of pruning, which a model may have for itself.
    "least_drop": """
        {{ config.pruning.threshold }}
        {%- for model in config.models if model.threshold is number %}, in {{ model.label or model.name }}
        {{ model.threshold }}{% endfor %}
    """,
    "given": """
        {%- for model in config.models if model.circuit %} The circuit of {{ model.label or model.name }} was given,
        not pruned here. {%- endfor %}
    """,
    # How many prompts a model answers correctly is known only after the run: the score maps say so.
    "scored": """
        {% if config.path_patching.prompts == "correct" %} n: as many of the {{ config.prompts.discovery }} prompts of
        the discovery split as the model answers correctly (the number stands below its score maps)
        {% else %} n = {{ config.prompts.discovery }} prompts of the discovery split {% endif %}
        {%- for model in config.models if model.scores %}; scores of {{ model.label or model.name }} were given
        {%- endfor %}
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
CAPTIONS = {figure.name: figure.caption for figure in FIGURES}


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
