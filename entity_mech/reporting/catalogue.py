"""How the figures of the table of stages stand on the run's page and in Snakemake's report."""

from __future__ import annotations

from entity_mech.stages.table import FIGURES, STAGES

SECTIONS = {
    "behaviour": "How well does each model track entities?",
    "circuit": "Which heads do it, and is it the same circuit after fine-tuning?",
    "functions": "What does each group of heads carry?",
    "improved": "What did fine-tuning improve?",
    "heads": "Where do the heads look?",
}
# The same sections in the report, which sorts them by their first letter.
CATEGORIES = {
    "behaviour": "1 Behaviour",
    "circuit": "2 Circuit",
    "functions": "3 Functions",
    "improved": "4 What fine-tuning improved",
    "heads": "5 Where heads look",
}
# The question of the findings whose sentences stand in a section.
ANSWERS = {
    "behaviour": "gain",
    "circuit": "same_circuit",
    "functions": "same_functions",
    "improved": "improved",
}
# In each section of the page in this order.
FAMILIES = FIGURES
SECTION_OF = {figure.name: stage.section for stage in STAGES for figure in stage.figures}
BY_NAME = {figure.name: figure for figure in FIGURES}
