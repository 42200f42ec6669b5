"""Every figure of a run: its file and the question that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

SECTIONS = {
    "behaviour": "How well does each model track entities?",
    "circuit": "Which heads do it, and is it the same circuit after fine-tuning?",
    "functions": "What does each group of heads carry?",
    "improved": "What did fine-tuning improve?",
    "heads": "Where do the heads look?",
}
# The question of the findings whose sentences stand in a section.
ANSWERS = {
    "behaviour": "gain",
    "circuit": "same_circuit",
    "functions": "same_functions",
    "improved": "improved",
}


@dataclass(frozen=True)
class Family:
    """A kind of figure. stem: its path under figures/, with {model} where there is one a model."""

    name: str
    stem: str
    section: str
    title: str

    @property
    def per_model(self) -> bool:
        """Whether every model has its own."""
        return "{model}" in self.stem


FAMILIES = (
    Family("behaviour", "behaviour", "behaviour", "Accuracy"),
    Family("path_patching", "path_patching/{model}", "circuit", "Path-patching scores"),
    Family("circuits", "circuits/{model}", "circuit", "Circuit"),
    Family("faithfulness", "faithfulness", "circuit", "Faithfulness"),
    Family("completeness", "completeness", "circuit", "Completeness"),
    Family("overlap", "overlap", "circuit", "Overlap"),
    Family("circuit_size", "circuit_size", "circuit", "Circuit size"),
    Family("role_map", "role_map", "circuit", "Role map"),
    Family("dcm", "dcm", "functions", "What each group carries"),
    Family("dcm_curves", "dcm_curves", "functions", "Training of the masks"),
    Family("patched_heads", "patched_heads", "functions", "Chosen heads in every model"),
    Family("probes", "probes", "functions", "What position means"),
    Family("cmap", "cmap", "improved", "Patching across models"),
    Family("cmap_inputs", "cmap_inputs", "improved", "Inputs of groups across models"),
    Family("knockout", "knockout", "heads", "Attention knockout"),
    Family("attention", "attention/{model}", "heads", "Attention of the strongest heads"),
)
BY_NAME = {family.name: family for family in FAMILIES}
