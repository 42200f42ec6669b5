"""Whether a circuit's heads are the task's or those of its wording (method, section 5).

The same scenes are put in other words. There the circuit is run as it is, and the chain of searches is run anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from entity_mech.engine.role_means import AblationPrompts, read_ablation, store_ablation
from entity_mech.engine.store import read_head_outputs, store_head_outputs
from entity_mech.hdf5 import scratch_hdf5
from entity_mech.methods.behaviour import behaviour
from entity_mech.methods.candidates import choose_circuit
from entity_mech.methods.circuits import Circuit
from entity_mech.methods.faithfulness import faithfulness
from entity_mech.methods.overlap import choosable, compare
from entity_mech.methods.part_names import WHOLE
from entity_mech.methods.path_patching import chain_table, prompts_to_score, run_chain
from entity_mech.methods.searches import PathPatchingOptions, PathSearch
from entity_mech.models.decoder import Decoder
from entity_mech.progress import log
from entity_mech.task.tokens import TokenizedPrompts

MEASURED = [name + end for name in ("accuracy", "faithfulness", "recall") for end in ("", "_low", "_high")]
AGAIN = ["candidates", "again", "chance_again", "p_chance"]
COLUMNS = ["wording", "template", "query", *MEASURED, "ceiling", *AGAIN, "scored", "n"]
HEAD_COLUMNS = ["wording", "search", "letter", "layer", "head", "kept", "again", "score"]


@dataclass(frozen=True)
class Reworded:
    """The prompts of another wording. clean, corrupted: of discovery, row by row. by_role: see `read_ablation`."""

    evaluation: TokenizedPrompts
    ablation: AblationPrompts
    clean: TokenizedPrompts
    corrupted: TokenizedPrompts
    by_role: Sequence[str] = ()


@dataclass(frozen=True)
class Chosen:
    """What was found in the study's own wording: the pruned circuit, the scores, heads kept of each search."""

    circuit: Circuit
    scores: pd.DataFrame
    keep: Mapping[str, int]


@dataclass(frozen=True)
class Tried:
    """summary: numbers by column, of COLUMNS. heads: HEAD_COLUMNS, a row for every candidate in either wording.

    Both without the columns that name the wording.
    """

    summary: dict[str, object]
    heads: pd.DataFrame


def try_wording(
    decoder: Decoder,
    prompts: Reworded,
    chosen: Chosen,
    searches: Sequence[PathSearch],
    options: PathPatchingOptions,
    score_all: bool = False,
) -> Tried:
    """Run a circuit on prompts in other words, and search there anew with the same numbers of heads.

    options: of the searches; null sources are not run. score_all: also score heads on prompts that the model answers
    wrongly.

    The summary has accuracy of the model, faithfulness and recall of the circuit (with intervals) and the ceiling's
    faithfulness, with means of this wording; candidates (in the study's wording), how many of them are candidates
    again at the same role, how many would be by chance and the probability of as many (`overlap`); scored and n are
    prompts of discovery and evaluation. Where the model answers none of discovery nothing can be searched: again and
    what follows from it is missing.
    """
    answers = behaviour(decoder, prompts.evaluation, options.batch_size)
    with scratch_hdf5() as memory:
        store_ablation(decoder, prompts.ablation, memory, options.batch_size)
        found_means = read_ablation(memory, prompts.ablation.plain, prompts.by_role)
        means = torch.as_tensor(found_means, device=decoder.device, dtype=decoder.dtype)
        table = faithfulness(
            decoder, prompts.evaluation, means, chosen.circuit, answers["predicted"].to_numpy(), draws=0
        ).summary.set_index("kind")
        right = behaviour(decoder, prompts.clean, options.batch_size)["correct"].to_numpy().astype(bool)
        rows = np.arange(len(right)) if score_all else np.flatnonzero(right)
        found = None
        if len(rows):
            roles = list(dict.fromkeys(search.token for search in searches))
            store_head_outputs(decoder, prompts.corrupted, roles, memory.create_group("z"), options.batch_size)
            sources = read_head_outputs(memory["z"])
            scored = prompts_to_score(
                decoder, prompts.clean, lambda _, role, index: sources.every(role, index), rows, options
            )
            effects = run_chain(scored, searches, options)
            found = chain_table(searches, effects, decoder.shape.n_heads)
    numbers: dict[str, object] = {
        name: table.loc["model" if name.startswith("accuracy") else "circuit", name] for name in MEASURED
    }
    again, heads = _found_again(chosen, found)
    numbers |= {"ceiling": table.loc["ceiling", "faithfulness"], **again, "scored": len(rows), "n": len(answers)}
    return Tried(numbers, heads)


def _found_again(chosen: Chosen, found: pd.DataFrame | None) -> tuple[dict[str, object], pd.DataFrame]:
    """What a search in other words says about the candidates: counts beside chance, and a row for each head."""
    candidates = chosen.circuit.unpruned
    counts: dict[str, object] = {"candidates": candidates.size}
    there: Circuit | None = None
    if found is None:
        log(f"{candidates.model} answers no discovery prompt in this wording, so nothing can be searched there")
    else:
        there = choose_circuit(candidates.model, found, chosen.keep)
        pools = (choosable(chosen.scores, candidates), choosable(found, there))
        whole = next(row for row in compare(candidates, there, pools) if row[2] == WHOLE)
        counts |= dict(zip(AGAIN[1:], (whole[6], whole[10], whole[-1]), strict=True))
    return {**dict.fromkeys(AGAIN, np.nan), **counts}, _heads(chosen.circuit, candidates, there)


def _heads(circuit: Circuit, candidates: Circuit, there: Circuit | None) -> pd.DataFrame:
    rows = []
    for index, group in enumerate(candidates.groups):
        scores = {} if there is None else {(la, h): s for la, h, s in there.groups[index].scored()}
        for layer, head in dict.fromkeys((*group.heads, *scores)):
            at = (layer, head)
            again = np.nan if there is None else float(at in scores)
            kept = at in circuit.groups[index].heads
            rows.append((group.name, group.letter, layer, head, kept, again, scores.get(at, np.nan)))
    return pd.DataFrame(rows, columns=HEAD_COLUMNS[1:])
