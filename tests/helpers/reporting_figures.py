"""Every figure of a study, drawn from synthetic tables."""

from collections.abc import Callable

import tests.helpers.reporting_stage_tables as more
import tests.helpers.reporting_tables as tables
from entity_mech.reporting.figures.accuracy import accuracy
from entity_mech.reporting.figures.attention import attention
from entity_mech.reporting.figures.circuit_diagram import circuit_diagram
from entity_mech.reporting.figures.circuit_size import circuit_size
from entity_mech.reporting.figures.cmap import cmap
from entity_mech.reporting.figures.cmap_inputs import cmap_inputs
from entity_mech.reporting.figures.completeness import completeness
from entity_mech.reporting.figures.dcm import dcm, dcm_curves
from entity_mech.reporting.figures.faithfulness import faithfulness
from entity_mech.reporting.figures.head_effects import head_effects
from entity_mech.reporting.figures.knockout import knockout
from entity_mech.reporting.figures.overlap import overlap
from entity_mech.reporting.figures.patched_heads import patched_heads, probes
from entity_mech.reporting.figures.role_map import role_map
from entity_mech.reporting.figures.score_maps import score_maps
from entity_mech.reporting.study import Study
from entity_mech.reporting.style import Drawing
from entity_mech.reporting.tables import circuit_table

LARGE = {"A": 80, "B": 30, "C": 50, "D": 40}
NAMES = (
    *(
        "behaviour",
        "path_patching",
        "circuits",
        "head_effects",
        "faithfulness",
        "completeness",
        "overlap",
        "circuit_size",
    ),
    *("role_map", "dcm", "dcm_curves", "patched_heads", "probes", "cmap", "cmap_inputs", "knockout", "attention"),
)


def gallery(study: Study, n_layers: int, n_heads: int, kept: dict[str, int]) -> dict[str, Callable[[], Drawing]]:
    """Functions that draw the figures, by the family's name; those of a model, of the base."""
    scores = tables.path_patching(study, n_layers, n_heads, kept)
    circuit = circuit_table(tables.circuit(study, scores, study.base, kept))
    return {
        "behaviour": lambda: accuracy(study, tables.behaviour(study)),
        "path_patching": lambda: score_maps(study, scores, circuit),
        "circuits": lambda: circuit_diagram(study, study.base, circuit, n_layers),
        "head_effects": lambda: head_effects(study, circuit),
        "faithfulness": lambda: faithfulness(study, tables.faithfulness(study)),
        "completeness": lambda: completeness(study, more.completeness(study)),
        "overlap": lambda: overlap(study, *more.overlap(study)),
        "circuit_size": lambda: circuit_size(study, *more.circuit_size(study, 3 * n_layers * n_heads)),
        "role_map": lambda: role_map(study, more.role_map(study)),
        "dcm": lambda: dcm(study, tables.dcm(study, "C")),
        "dcm_curves": lambda: dcm_curves(study, tables.dcm_curves(study)),
        "patched_heads": lambda: patched_heads(study, more.patched_heads(study)),
        "probes": lambda: probes(study, more.probes(study), "B", more.probe_masks(study)),
        "cmap": lambda: cmap(study, tables.cmap(study)),
        "cmap_inputs": lambda: cmap_inputs(study, more.cmap_inputs(study), tables.behaviour(study)),
        "knockout": lambda: knockout(study, more.knockout(study, n_layers)),
        "attention": lambda: attention(study, *more.attention(study)),
    }
