"""How often a head is found when other scenes are drawn (method, section 5): no model runs again.

What is resampled: scenes. For the candidates, the prompts' effects of each search are averaged over resampled scenes
and candidates are chosen by the rule and the numbers that the circuit was chosen by; the receivers of later searches
stay those of the real chain, and a number of heads at the knee stays the real one. For pruning, each candidate is
judged on resampled scenes with the heads K removed beside it that were removed in the real pruning: circuits of other
candidates or another K were never run. So a kept frequency says how far the verdict on this head hangs on the scenes,
given the other candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from entity_mech.engine.store import create_store, open_store
from entity_mech.methods.candidates import choose_circuit
from entity_mech.methods.circuits import Circuit
from entity_mech.methods.pruning import Judged, PruningOptions, is_kept
from entity_mech.task.seeds import generator

COLUMNS = [
    *("search", "letter", "layer", "head", "candidate", "kept"),
    *("candidate_frequency", "kept_frequency", "n_resamples"),
]


def scene_weights(scene: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each prompt counts when as many scenes are drawn with replacement, [resample, prompt]."""
    scenes, index = np.unique(scene, return_inverse=True)
    rng = generator(seed, "stability")
    return np.asarray(rng.multinomial(len(scenes), np.full(len(scenes), 1 / len(scenes)), resamples)[:, index])


def candidate_counts(
    scores: pd.DataFrame, effects: Mapping[str, np.ndarray], weights: np.ndarray, keep: Mapping[str, int]
) -> dict[tuple[str, int, int], int]:
    """In how many resamples each (search, layer, head) is a candidate; heads that never are stand not in it.

    Args:
        scores: the path-patching table. Of each search, rows in the order of the senders.
        effects: of each search, relative change of the answer's probability, [sender, prompt].
        weights: of the prompts, [resample, prompt].
        keep: number of candidates of each search, as the circuit was chosen.
    """
    total = weights.sum(1)
    means = {name: relative.astype(np.float64) @ weights.T / total for name, relative in effects.items()}
    counts: dict[tuple[str, int, int], int] = {}
    for resample in range(len(weights)):
        drawn = scores.assign(
            score=np.concatenate([means[str(name)][:, resample] for name in scores["search"].unique()])
        )
        for group in choose_circuit("", drawn, keep).groups:
            for layer, head in group.heads:
                counts[group.name, layer, head] = counts.get((group.name, layer, head), 0) + 1
    return counts


def kept_counts(judged: Judged, weights: np.ndarray, options: PruningOptions) -> np.ndarray:
    """In how many resamples each judged head stays, [head]; weights of the prompts, [resample, prompt]."""
    total = weights.sum(1)
    before, after = (answers.astype(np.float64) @ weights.T / total for answers in (judged.before, judged.after))
    verdicts = [
        [is_kept(b, a, options, int(n)) for b, a, n in zip(*pair, total, strict=True)]
        for pair in zip(before, after, strict=True)
    ]
    return np.array([sum(verdict) for verdict in verdicts], dtype=int)


def stability(
    circuit: Circuit, candidates: Mapping[tuple[str, int, int], int], kept: np.ndarray, resamples: int
) -> pd.DataFrame:
    """A row for each head that is a candidate, in truth or in any resample: how often it is one, and how often kept.

    candidates: `candidate_counts`. kept: `kept_counts`, in the order of the circuit's candidates. Columns: search,
    letter, layer, head, candidate, kept (in truth), candidate_frequency, kept_frequency (of the real candidates
    only), n_resamples.
    """
    rows: list[dict[str, object]] = []
    judged = iter(kept.tolist())
    for group in circuit.groups:
        real = {(layer, head): next(judged) for layer, head, _ in group.candidates}
        others = sorted((layer, head) for name, layer, head in candidates if name == group.name)
        for layer, head in dict.fromkeys([*real, *others]):
            rows.append(
                {
                    "search": group.name,
                    "letter": group.letter,
                    "layer": layer,
                    "head": head,
                    "candidate": (layer, head) in real,
                    "kept": (layer, head) in group.heads,
                    "candidate_frequency": candidates.get((group.name, layer, head), 0) / resamples,
                    "kept_frequency": real[layer, head] / resamples if (layer, head) in real else np.nan,
                    "n_resamples": resamples,
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def write_judged(path: str | Path, stamp: Mapping[str, str], scene: np.ndarray, judged: Judged) -> None:
    """Write pruning's answers as bits, with the prompts' scenes."""
    with create_store(path, stamp) as file:
        for name, array in (("scene", scene), *((n, np.packbits(a, axis=1)) for n, a in judged._asdict().items())):
            file.create_dataset(name, data=array, track_times=False)


def read_judged(path: str | Path) -> tuple[np.ndarray, Judged]:
    """Scenes [prompt] and answers of `write_judged`. Raises UserError when the file cannot be read."""
    with open_store(path, {}) as file:
        scene = file["scene"][()]
        bits = (np.unpackbits(file[name][()], axis=1, count=len(scene)).astype(bool) for name in Judged._fields)
        return scene, Judged(*bits)
