"""What fine-tuning improved: cross-model activation patching (method, section 8; paper, section 6)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Bool

from entity_mech.engine.donor_heads import heads_only
from entity_mech.engine.store import Head, StoredHeads
from entity_mech.errors import UserError
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.donors import DonorOutputs, DonorWeights
from entity_mech.methods.head_patching import HeadSource, Patch, carriers, heads_at, run_patches
from entity_mech.methods.intervals import difference_interval, difference_p, mean_interval, share_interval
from entity_mech.methods.part_names import DIRECT, OUTPUTS, UNION, WHOLE
from entity_mech.methods.random_sets import random_sets
from entity_mech.methods.sense import no_gain
from entity_mech.models.decoder import Decoder
from entity_mech.models.families.family import Sizes
from entity_mech.progress import log
from entity_mech.task.seeds import seed_for
from entity_mech.task.tokens import TokenizedPrompts

INTO_BASE, INTO_FINE_TUNED = "into_base", "into_fine_tuned"
# Which desideratum's heads stand for a group; a group that is not named is taken whole.
PAPER_CHOICE = {"A": "object", "B": "position", "C": "position"}
COLUMNS = [
    *("base", "model", "donor", "target", "circuit", "part", "way", "kind", "draw", "n_heads", "fallback"),
    *("accuracy", "low", "high", "gain", "gain_low", "gain_high", "gain_p", "share", "share_low", "share_high", "n"),
]


@dataclass(frozen=True)
class CmapOptions:
    """choice: letter of a group -> desideratum whose heads are patched. batch: prompts at a time, None chooses.

    With 20 random draws, all of them below a part, p is 1 / 21: the fewest that give p < 0.05.
    """

    random_draws: int = 20
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

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways in which it is patched: several groups at once never directly.

        With its inputs held to the target's, a later group would not pass on what an earlier one gained.
        """
        return (OUTPUTS,) if self.name in (UNION, WHOLE) else (OUTPUTS, DIRECT)


@dataclass(frozen=True)
class Side:
    """One of the two models: how to load it, and its clean head outputs on the evaluation prompts."""

    name: str
    shape: Sizes
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


def part_of(group: HeadGroup, desideratum: str | None, selected: pd.DataFrame) -> Part:
    """A group's heads that carry a desideratum; all of them when there are none, or none is asked for.

    An empty group is an empty part; no whole group stands in for it.
    """
    heads = heads_at(group) if desideratum is None else carriers(group, desideratum, selected)
    return Part(group.letter, heads, False) if heads else Part(group.letter, heads_at(group), bool(group.heads))


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
        Part(UNION, union, any(part.fallback for part in parts)),
        Part(WHOLE, every, False),
    ]


def heads_of_both(*circuits: Circuit) -> frozenset[Head]:
    """Every head of the circuits at its token: none of them may stand among the controls of a part."""
    return frozenset(head for circuit in circuits for group in circuit.groups for head in heads_at(group))


def random_heads(
    heads: Sequence[Head], taken: frozenset[Head], shape: Sizes, draws: int, seed: int
) -> list[tuple[Head, ...]]:
    """Distinct sets of as many random heads at each role as the set has there, none of them `taken`.

    Fewer than `draws` where there are no more, none where too few heads are left.
    """
    every = [(layer, head) for layer in range(shape.n_layers) for head in range(shape.n_heads)]
    counts = {role: sum(at == role for at, *_ in heads) for role in dict.fromkeys(at for at, *_ in heads)}
    pools = {role: [head for head in every if (role, *head) not in taken] for role in counts}
    return [tuple(sorted(found)) for found in random_sets(pools, counts, draws, seed)]


def part_variants(
    circuit: str, part: Part, taken: frozenset[Head], shape: Sizes, options: CmapOptions
) -> list[tuple[str, int | None, tuple[Head, ...]]]:
    """The part and its random controls as (kind, draw, heads); an empty part has no controls."""
    seed = seed_for(options.seed, "cmap", circuit, part.name)
    drawn = random_heads(part.heads, taken | set(part.heads), shape, options.random_draws, seed)
    if part.heads and len(drawn) < options.random_draws:
        log(f"{circuit}'s {part.name}: {len(drawn)} sets of random heads, no more lie outside the circuits")
    return [("chosen", None, part.heads), *(("random", draw, heads) for draw, heads in enumerate(drawn))]


@dataclass(frozen=True)
class Patched:
    """A target with some of a donor's heads: labels of the row, and which prompts it answers correctly."""

    labels: dict[str, object]
    right: Bool[np.ndarray, " prompt"]


@dataclass(frozen=True)
class Donor:
    """The model that gives. heads: its weights, those of its heads at least (heads_only)."""

    side: Side
    heads: Decoder

    def sources(self) -> dict[str, HeadSource]:
        """What it gives, by way."""
        return {OUTPUTS: DonorOutputs(self.heads, self.side.outputs), DIRECT: DonorWeights(self.heads)}


def patch_into(
    target: Decoder,
    donor: Donor,
    parts: Mapping[str, Sequence[Part]],
    taken: frozenset[Head],
    options: CmapOptions,
) -> tuple[Bool[np.ndarray, " prompt"], list[Patched]]:
    """Which prompts `target` answers correctly, by itself and with heads' contributions replaced by the donor's.

    parts: circuit -> its parts. taken: heads that no control may have.
    """
    prompts, sources = donor.side.prompts, donor.sources()
    asked = [(circuit, part) for circuit, its_parts in parts.items() for part in its_parts]
    variants = [part_variants(circuit, part, taken, target.shape, options) for circuit, part in asked]
    patches = {
        (i, way): Patch(sources[way], [heads for _, _, heads in variants[i]])
        for i, (_, part) in enumerate(asked)
        for way in part.ways
    }
    own = (-1, OUTPUTS)
    label = f"{donor.side.name} into {target.name}"
    given = run_patches(target, prompts, {**patches, own: Patch(sources[OUTPUTS], [()])}, options.batch, label)
    found = []
    for i, way in patches:
        circuit, part = asked[i]
        for (kind, draw, heads), predicted in zip(variants[i], given[i, way], strict=True):
            named = {"donor": donor.side.name, "circuit": circuit, "part": part.name, "way": way}
            drawn = {"kind": kind, "draw": draw, "n_heads": len(heads), "fallback": part.fallback}
            found.append(Patched({**named, **drawn}, predicted == prompts.answer))
    return given[own][0] == prompts.answer, found


def accuracy_columns(right: Bool[np.ndarray, " prompt"], scene: np.ndarray) -> dict[str, object]:
    """Accuracy with its interval."""
    value, low, high = mean_interval(right, scene)
    return {"accuracy": value, "low": low, "high": high, "n": len(right)}


def gains(
    patched: Bool[np.ndarray, " prompt"],
    target: Bool[np.ndarray, " prompt"],
    donor: Bool[np.ndarray, " prompt"],
    scene: np.ndarray,
) -> dict[str, object]:
    """What patching changes, over the same prompts, each with its interval.

    gain: accuracy of the patched target minus the target's by itself. share: the gain over that of the donor by
    itself. Patched into the base, it is the share of fine-tuning's gain that the heads bring; into the fine-tuned
    model, the share that the base's heads take away.
    """
    gain, share = difference_interval(patched, target, scene), share_interval(patched, target, donor, scene)
    ends = ("", "_low", "_high")
    both = {"gain": gain, "share": share}
    return {name + end: value for name, found in both.items() for end, value in zip(ends, found, strict=True)}


def run_cmap(
    base: Side, model: Side, parts: Mapping[str, Sequence[Part]], taken: frozenset[Head], options: CmapOptions
) -> pd.DataFrame:
    """Contributions of parts patched between a base and a fine-tuned model, and both models' own accuracies.

    parts: circuit -> its parts (cmap_parts). taken: heads that no control may have (heads_of_both). In memory at a
    time are one model and the other's heads. Raises UserError naming both models when their heads or tokens do not
    match.
    """
    check_comparable(base, model)
    own: dict[str, np.ndarray] = {}
    patched: dict[str, list[Patched]] = {}
    heads = heads_only(model.load())
    for target, donor, direction in ((base, model, INTO_BASE), (model, base, INTO_FINE_TUNED)):
        asked = parts if direction in options.directions else {}
        for circuit, its_parts in asked.items():
            for part in its_parts:
                if not part.heads:
                    log(f"{circuit}'s {part.name}: it is empty, nothing is patched")
                elif part.fallback:
                    log(f"{circuit}'s {part.name}: DCM chose no head, the whole group is patched")
        decoder = target.load()
        own[target.name], patched[target.name] = patch_into(decoder, Donor(donor, heads), asked, taken, options)
        heads = heads_only(decoder)
        del decoder
    scene = base.prompts.scene
    if text := no_gain(model.name, base.name, difference_interval(own[model.name], own[base.name], scene).low):
        log(f"warning: {text}")
    rows: list[dict[str, object]] = []
    for name, right in own.items():
        labels = {"donor": name, "target": name, "kind": "own", "n_heads": 0, "fallback": False}
        rows.append({**labels, **accuracy_columns(right, scene)})
    for name, found in patched.items():
        for one in found:
            ours, theirs = own[name], own[str(one.labels["donor"])]
            numbers = {**accuracy_columns(one.right, scene), **gains(one.right, ours, theirs, scene)}
            if one.labels["kind"] == "chosen":
                numbers["gain_p"] = difference_p(one.right, ours, scene)
            rows.append({**one.labels, "target": name, **numbers})
    table = pd.DataFrame(rows).assign(base=base.name, model=model.name)
    return table.reindex(columns=COLUMNS).astype({"draw": "Int64"})
