"""Heads that DCM found, patched on fresh pairs: every circuit's heads in every model (method, section 7)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from entity_mech.engine.store import Head
from entity_mech.errors import UserError
from entity_mech.methods.circuits import Circuit
from entity_mech.methods.dcm import answers_table
from entity_mech.methods.head_patching import PatchData, carriers, patched_predictions
from entity_mech.methods.intervals import difference_interval, mean_interval
from entity_mech.models.decoder import Decoder

COLUMNS = [
    *("model", "circuit", "group", "letter", "desideratum", "pairs", "n_heads"),
    *("accuracy", "low", "high", "sd_resamples", "none_accuracy", "gain", "gain_low", "gain_high", "n", "resamples"),
]
ANSWER_COLUMNS = [
    *("model", "circuit", "letter", "desideratum", "pairs", "resample"),
    *("pair", "scene", "correct", "none_correct"),
]
RESAMPLE_COLUMNS = ["model", "circuit", "group", "letter", "desideratum", "pairs", "resample", "accuracy", "n"]


@dataclass(frozen=True)
class HeadSet:
    """Heads of a circuit's group that carry a desideratum in the circuit's own model."""

    circuit: str
    group: str
    letter: str
    desideratum: str
    heads: tuple[Head, ...]


@dataclass(frozen=True)
class FreshPairs:
    """Resamples of pairs that no mask has seen. desideratum: whose heads are patched; name: of the pairs.

    The two differ for position probes: heads for `position`, patched on pairs with a changed source prompt.
    """

    name: str
    desideratum: str
    resamples: Sequence[PatchData]


@dataclass(frozen=True)
class PatchHeadsTables:
    """summary: a row for each set of heads and pairs. resamples: the same for each resample.

    answers: a row for each pair of each set, to compare models on the same pairs; `scene` tells scenes of different
    resamples apart.
    """

    summary: pd.DataFrame
    resamples: pd.DataFrame
    answers: pd.DataFrame


def head_sets(circuit: Circuit, selected: pd.DataFrame) -> list[HeadSet]:
    """All of a circuit's groups and desiderata, from DCM's table of heads; sets may be empty."""
    names = dict.fromkeys(selected["desideratum"])
    return [
        HeadSet(circuit.model, group.name, group.letter, name, carriers(group, name, selected))
        for group in circuit.groups
        for name in names
    ]


def patch_chosen_heads(
    decoder: Decoder,
    sets: Sequence[HeadSet],
    pairs: Iterable[FreshPairs],
    batch: int | None = None,
) -> PatchHeadsTables:
    """Share of pairs for which the model gives the target with each set's heads patched from the source.

    Sets are patched on the pairs of their own desideratum. The interval is over the scenes of all resamples;
    sd_resamples is the spread of the resamples' accuracies. An empty set gives the model as it is.
    """
    summary: list[dict[str, object]] = []
    single: list[dict[str, object]] = []
    answers: list[pd.DataFrame] = []
    for fresh in pairs:
        if not fresh.resamples:
            raise UserError(f"{decoder.name}: no pairs to patch for {fresh.name}")
        chosen = [each for each in sets if each.desideratum == fresh.desideratum]
        right = [_right(decoder, chosen, data, batch, fresh.name) for data in fresh.resamples]
        scene = _scenes(fresh)
        for i, each in enumerate(chosen):
            labels = {
                "model": decoder.name,
                "circuit": each.circuit,
                "group": each.group,
                "letter": each.letter,
                "desideratum": each.desideratum,
                "pairs": fresh.name,
            }
            means = [float(found[i].mean()) for found in right]
            correct, none = (np.concatenate([found[at] for found in right]) for at in (i, -1))
            value, low, high = mean_interval(correct, scene)
            gain, gain_low, gain_high = difference_interval(correct, none, scene)
            summary.append(
                {
                    **labels,
                    "n_heads": len(each.heads),
                    "accuracy": value,
                    "low": low,
                    "high": high,
                    "sd_resamples": float(np.std(means, ddof=1)) if len(means) > 1 else np.nan,
                    "none_accuracy": float(none.mean()),
                    "gain": gain,
                    "gain_low": gain_low,
                    "gain_high": gain_high,
                    "n": len(scene),
                    "resamples": len(means),
                }
            )
            sizes = [len(data.pairs) for data in fresh.resamples]
            given = answers_table(scene, correct, none).assign(**labels)
            answers.append(given.assign(resample=np.repeat(np.arange(len(sizes)), sizes)))
            single += [
                {**labels, "resample": r, "accuracy": mean, "n": n}
                for r, (mean, n) in enumerate(zip(means, sizes, strict=True))
            ]
    kept = pd.concat(answers, ignore_index=True) if answers else pd.DataFrame()
    return PatchHeadsTables(
        pd.DataFrame(summary, columns=COLUMNS),
        pd.DataFrame(single, columns=RESAMPLE_COLUMNS),
        kept.reindex(columns=ANSWER_COLUMNS),
    )


def _scenes(fresh: FreshPairs) -> np.ndarray:
    """Scene of every pair [pair]; scenes of different resamples are different scenes."""
    scenes = [np.unique(data.pairs.base.scene, return_inverse=True)[1] for data in fresh.resamples]
    before = np.cumsum([0, *(1 + int(scene.max()) for scene in scenes[:-1])])
    return np.concatenate([scene + first for scene, first in zip(scenes, before, strict=True)])


def _right(
    decoder: Decoder, sets: Sequence[HeadSet], data: PatchData, batch: int | None, name: str
) -> list[np.ndarray]:
    """Whether each pair comes right, for every set and, last, with no head patched."""
    patches = {str(i): [each.heads] for i, each in enumerate(sets)} | {"none": [()]}
    label = f"{decoder.name}: patching on {name}"
    found = patched_predictions(decoder, data.pairs.base, data.source, patches, batch, label)
    return [found[key][0] == data.pairs.target for key in patches]
