"""What fine-tuning improved: cross-model activation patching of head outputs (method, 8; paper, section 5)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Bool

from entity_mech.engine.store import Head, StoredHeads
from entity_mech.errors import UserError
from entity_mech.methods.circuits import Circuit, Group
from entity_mech.methods.head_patching import carriers, heads_at, patched_predictions
from entity_mech.methods.intervals import mean_interval
from entity_mech.models.decoder import Decoder, DecoderShape
from entity_mech.progress import log
from entity_mech.task.seeds import generator
from entity_mech.task.tokens import TokenizedPrompts

INTO_BASE, INTO_FINE_TUNED = "into_base", "into_fine_tuned"
# Which desideratum's heads stand for a group; a group that is not named is taken whole.
PAPER_CHOICE = {"A": "object", "B": "position", "C": "position"}
COLUMNS = [
    *("base", "model", "donor", "target", "circuit", "part", "kind", "draw", "n_heads", "fallback"),
    *("accuracy", "low", "high", "n"),
]


@dataclass(frozen=True)
class CmapOptions:
    """choice: letter of a group -> desideratum whose heads are patched. batch: prompts at a time, None chooses."""

    random_draws: int = 10
    directions: tuple[str, ...] = (INTO_BASE, INTO_FINE_TUNED)
    choice: Mapping[str, str] = field(default_factory=lambda: dict(PAPER_CHOICE))
    seed: int = 0
    batch: int | None = None


@dataclass(frozen=True)
class Part:
    """Heads that are patched together. fallback: DCM chose none of a group, so the whole group stands in."""

    name: str
    heads: tuple[Head, ...]
    fallback: bool


@dataclass(frozen=True)
class Side:
    """One of the two models: how to load it, and its clean head outputs on the evaluation prompts."""

    name: str
    shape: DecoderShape
    prompts: TokenizedPrompts
    outputs: StoredHeads
    load: Callable[[], Decoder]


def check_comparable(a: Side, b: Side) -> None:
    """Raise UserError naming both models unless they have the same heads and read the prompts as the same tokens."""
    sizes = ("n_layers", "n_heads", "n_kv_heads", "d_head", "d_model")
    unequal = [
        f"{size} {getattr(a.shape, size)} and {getattr(b.shape, size)}"
        for size in sizes
        if getattr(a.shape, size) != getattr(b.shape, size)
    ]
    if not np.array_equal(a.prompts.ids, b.prompts.ids):
        unequal.append("the prompts are other tokens")
    if unequal:
        raise UserError(f"{a.name} and {b.name} cannot be patched into each other: {'; '.join(unequal)}")


def part_of(group: Group, desideratum: str | None, selected: pd.DataFrame) -> Part:
    """A group's heads that carry a desideratum; all of them when there are none, or none is asked for."""
    heads = heads_at(group) if desideratum is None else carriers(group, desideratum, selected)
    return Part(group.letter, heads, False) if heads else Part(group.letter, heads_at(group), True)


def cmap_parts(circuit: Circuit, selected: pd.DataFrame, choice: Mapping[str, str] | None = None) -> list[Part]:
    """A part for each group of a circuit, `full` (their union) and `whole_circuit` (every head).

    selected: DCM's table of heads, of the same circuit.
    """
    choice = PAPER_CHOICE if choice is None else choice
    parts = [part_of(group, choice.get(group.letter), selected) for group in circuit.groups]
    union = tuple(dict.fromkeys(head for part in parts for head in part.heads))
    every = tuple(dict.fromkeys(head for group in circuit.groups for head in heads_at(group)))
    return [
        *parts,
        Part("full", union, any(part.fallback for part in parts)),
        Part("whole_circuit", every, False),
    ]


def random_heads(heads: Sequence[Head], shape: DecoderShape, rng: np.random.Generator) -> tuple[Head, ...]:
    """As many random heads at each role as the set has there, outside the set; fewer where there are no more."""
    found: list[Head] = []
    for role in dict.fromkeys(role for role, _, _ in heads):
        taken = {(la, h) for at, la, h in heads if at == role}
        outside = [(la, h) for la in range(shape.n_layers) for h in range(shape.n_heads) if (la, h) not in taken]
        drawn = rng.choice(len(outside), min(len(taken), len(outside)), replace=False)
        found += [(role, *outside[i]) for i in sorted(drawn.tolist())]
    return tuple(found)


def part_variants(
    circuit: str, part: Part, shape: DecoderShape, options: CmapOptions
) -> list[tuple[str, int | None, tuple[Head, ...]]]:
    """The part and its random controls as (kind, draw, heads); an empty part has no controls."""
    draws = range(options.random_draws if part.heads else 0)
    return [
        ("chosen", None, part.heads),
        *(
            (
                "random",
                draw,
                random_heads(part.heads, shape, generator(options.seed, "cmap", circuit, part.name, str(draw))),
            )
            for draw in draws
        ),
    ]


def patch_into(
    target: Decoder,
    donor: str,
    outputs: StoredHeads,
    prompts: TokenizedPrompts,
    parts: Mapping[str, Sequence[Part]],
    options: CmapOptions,
) -> pd.DataFrame:
    """Accuracy of `target` with heads' outputs replaced by the donor's clean ones, part by part.

    outputs: the donor's, on the same prompts. parts: circuit -> its parts. The first row is the target's own.
    """
    rows: list[dict[str, object]] = []
    variants = {
        (circuit, part.name): part_variants(circuit, part, target.shape, options)
        for circuit, its_parts in parts.items()
        for part in its_parts
    }
    fallback = {(circuit, part.name): part.fallback for circuit, found in parts.items() for part in found}
    patches = {"\t".join(key): [heads for _, _, heads in found] for key, found in variants.items()}
    label = f"{donor} into {target.name}"
    found = patched_predictions(target, prompts, outputs, {**patches, "own": [()]}, options.batch, label)
    own = {"donor": target.name, "kind": "own", "n_heads": 0, "fallback": False}
    rows.append({**own, **accuracy(found["own"][0] == prompts.answer, prompts, options)})
    for key, its_variants in variants.items():
        for (kind, draw, heads), predicted in zip(its_variants, found["\t".join(key)], strict=True):
            named = {"donor": donor, "circuit": key[0], "part": key[1], "kind": kind, "draw": draw}
            size = {"n_heads": len(heads), "fallback": fallback[key]}
            rows.append({**named, **size, **accuracy(predicted == prompts.answer, prompts, options)})
    return pd.DataFrame(rows).assign(target=target.name)


def accuracy(
    right: Bool[np.ndarray, " prompt"], prompts: TokenizedPrompts, options: CmapOptions
) -> dict[str, object]:
    value, low, high = mean_interval(right, prompts.scene)
    return {"accuracy": value, "low": low, "high": high, "n": len(right)}


def run_cmap(base: Side, model: Side, parts: Mapping[str, Sequence[Part]], options: CmapOptions) -> pd.DataFrame:
    """Outputs of parts patched between a base and a fine-tuned model, and both models' own accuracies.

    parts: circuit -> its parts (cmap_parts). One model is in memory at a time. Raises UserError naming both
    models when their heads or tokens do not match.
    """
    check_comparable(base, model)
    found = []
    for target, donor, direction in ((base, model, INTO_BASE), (model, base, INTO_FINE_TUNED)):
        asked = parts if direction in options.directions else {}
        for circuit, its_parts in asked.items():
            for part in its_parts:
                if part.fallback:
                    log(f"{circuit}'s {part.name}: DCM chose no head, the whole group is patched")
        found.append(patch_into(target.load(), donor.name, donor.outputs, target.prompts, asked, options))
    table = pd.concat(found, ignore_index=True).assign(base=base.name, model=model.name)
    table = table.reindex(columns=COLUMNS).astype({"draw": "Int64"})
    return table.sort_values("kind", key=lambda kind: kind != "own", kind="stable", ignore_index=True)
