"""What a group of heads carries: desiderata-based component masking (method, section 7; paper, section 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entity_mech.engine.clean import to_ids
from entity_mech.engine.memory import activation_budget
from entity_mech.engine.ops import predictions, token_logits
from entity_mech.engine.prefix import EditPlan, PrefixBank, slices
from entity_mech.engine.store import auto_batch
from entity_mech.engine.suffix import Start, run_suffix
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.head_patching import (
    PatchData,
    edits_for,
    heads_at,
    patching_batch,
    plan_of,
    source_values,
)
from entity_mech.methods.intervals import difference_interval, mean_interval
from entity_mech.models.decoder import Decoder
from entity_mech.progress import log, track
from entity_mech.task.seeds import generator

CPU_PREFIX_BYTES = 4 << 30
COLUMNS = [
    *("model", "circuit", "group", "letter", "desideratum", "heads", "n_heads", "group_size", "accuracy"),
    *("low", "high", "none_accuracy", "gain", "gain_low", "gain_high", "all_accuracy", "n"),
]
CURVES = ["group", "desideratum", "epoch", "step", "loss", "validation_accuracy", "heads"]
HEADS = ["group", "desideratum", "layer", "head", "weight", "selected"]
ANSWERS = ["model", "circuit", "letter", "desideratum", "pair", "scene", "correct", "none_correct"]


@dataclass(frozen=True)
class DcmOptions:
    """Keys of the config's `dcm`; seed orders the training pairs, `memory` bounds kept prefixes (bytes)."""

    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 0.1
    penalty: float = 0.01
    validate_every: int = 4
    ties: str = "fewer"  # or "more": heads of two masks that are equally good
    seed: int = 0
    memory: int | None = None


@dataclass(frozen=True)
class Desideratum:
    """What patching a group should do: pairs to train on, to choose the mask by, and to report."""

    name: str
    train: PatchData
    validation: PatchData
    test: PatchData


@dataclass(frozen=True)
class DcmTables:
    """summary: one row a group and desideratum. curves: one row a training step. heads: one row a mask weight, and
    whether the head is selected: the mask patches it, and is a selection.

    answers: one row a group, desideratum and test pair: whether the target is given with the chosen heads patched
    (correct), and with none (none_correct).
    """

    summary: pd.DataFrame
    curves: pd.DataFrame
    heads: pd.DataFrame
    answers: pd.DataFrame


class Split:
    """One split of a desideratum in one model: clean prefixes for every group, and masks judged so far."""

    def __init__(self, decoder: Decoder, data: PatchData, plans: Sequence[EditPlan], memory: int) -> None:
        self.decoder, self.data = decoder, data
        base = data.pairs.base
        batch = min(auto_batch(decoder, base.ids.shape[1]), len(base))
        self.bank = PrefixBank(decoder, base, plans, memory, batch)
        self.batch = min(len(base), patching_batch(decoder, base.ids.shape[1], 1))

    def memory(self) -> int:
        """Bytes that its prefixes take."""
        return self.bank.bytes if self.bank.fits else 0

    def unpatched(self) -> Bool[np.ndarray, " pair"]:
        """Whether the model gives the target with no head patched."""
        return np.asarray(self.bank.predictions == self.data.pairs.target)


class GroupSplit:
    """A group's heads on a split: training steps and judgements of masks."""

    def __init__(self, split: Split, group: HeadGroup) -> None:
        self.split, self.decoder, self.heads = split, split.decoder, heads_at(group)
        self.plan = plan_of(self.heads)
        self.values = source_values(self.decoder, split.data.source, self.heads)
        self.target = to_ids(self.decoder, split.data.pairs.target)
        self._judged: dict[tuple[bool, ...], np.ndarray] = {}

    def start(self, rows: slice | np.ndarray) -> Start:
        return self.split.bank.start(self.plan, rows)

    def target_logit(self, weights: Float[Tensor, " n_heads"], rows: np.ndarray) -> Float[Tensor, " row"]:
        """Logit of the target of some pairs; differentiable in the mask weights."""
        at = to_ids(self.decoder, rows)
        edits = edits_for(self.plan, self.heads, self.values[at], weights)
        final = run_suffix(self.decoder, self.start(rows), edits)[0]
        return token_logits(self.decoder, final, self.target[at])

    def correct(self, patched: Bool[np.ndarray, " n_heads"]) -> Bool[np.ndarray, " pair"]:
        """Whether the model gives each pair's target with the marked heads patched. Each mask runs once."""
        key = tuple(patched.tolist())
        if key not in self._judged:
            self._judged[key] = self._judge(np.flatnonzero(key)) if any(key) else self.split.unpatched()
        return self._judged[key]

    @torch.inference_mode()
    def _judge(self, which: np.ndarray) -> Bool[np.ndarray, " pair"]:
        heads = [self.heads[i] for i in which]
        found = []
        for rows in slices(len(self.target), self.split.batch):
            edits = edits_for(self.plan, heads, self.values[rows][:, which])
            final = run_suffix(self.decoder, self.start(rows), edits)[0]
            found.append((predictions(self.decoder, final) == self.target[rows]).cpu())
        return torch.cat(found).numpy()


def chosen_by(weights: Float[np.ndarray, " n_heads"]) -> Bool[np.ndarray, " n_heads"]:
    """Heads whose weight rounds to 0: those that are patched. A half rounds to 0."""
    return np.asarray(weights <= 0.5)


@dataclass
class Training:
    """The course of one mask: its final choice and a record of each step."""

    weights: np.ndarray  # at the chosen step
    patched: np.ndarray  # bool [n_heads]
    curve: list[dict[str, float]] = field(default_factory=list)


def train_mask(train: GroupSplit, validation: GroupSplit, options: DcmOptions, names: Sequence[str] = ()) -> Training:
    """Learn which heads to patch. A weight of 1 keeps a head's own output, 0 takes the source's.

    names: of what is trained, so that each training has its own order of pairs.
    """
    decoder = train.decoder
    wide = torch.float64 if decoder.dtype == torch.float64 else torch.float32
    weights = torch.ones(len(train.heads), dtype=wide, device=decoder.device, requires_grad=True)
    adam = torch.optim.Adam([weights], lr=options.learning_rate)
    best: tuple[int, int] | None = None
    result = Training(np.ones(len(train.heads)), np.zeros(len(train.heads), bool))
    for epoch in range(options.epochs):
        order = generator(options.seed, "dcm", *names, str(epoch)).permutation(len(train.target))
        for step, rows in enumerate(slices(len(order), options.batch_size)):
            logit = train.target_logit(weights, order[rows]).to(wide)
            loss = -logit.mean() + options.penalty * (1 - weights).sum()
            adam.zero_grad()
            torch.autograd.backward(loss)
            adam.step()
            with torch.no_grad():
                weights.clamp_(0, 1)
            now = weights.detach().cpu().numpy().copy()
            patched = chosen_by(now)
            accuracy = np.nan
            if step % options.validate_every == 0:
                right = validation.correct(patched)
                accuracy = float(right.mean())
                n = int(patched.sum())
                score = (int(right.sum()), -n if options.ties == "fewer" else n)
                if best is None or score > best:
                    best, result.weights, result.patched = score, now, patched
            result.curve.append(
                {
                    "epoch": epoch,
                    "step": step,
                    "loss": loss.item(),
                    "validation_accuracy": accuracy,
                    "heads": int(patched.sum()),
                }
            )
    return result


def run_dcm(decoder: Decoder, circuit: Circuit, desiderata: Sequence[Desideratum], options: DcmOptions) -> DcmTables:
    """Train and test a mask for every group of a circuit and every desideratum.

    An empty group has nothing to patch: its accuracies are those of the model as it is.
    """
    rows: list[tuple[HeadGroup, str, Training, bool]] = []
    summary: list[dict[str, object]] = []
    answers: list[pd.DataFrame] = []
    plans = [plan_of(heads_at(group)) for group in circuit.groups if group.heads]
    for desideratum in track(desiderata, len(desiderata), f"{decoder.name}: desiderata"):
        splits = _splits(decoder, desideratum, plans, options)
        scene = desideratum.test.pairs.base.scene
        for group in circuit.groups:
            none = splits["test"].unpatched()
            found, right = Training(np.ones(0), np.zeros(0, bool)), dict.fromkeys(("chosen", "every"), none)
            if group.heads:
                train, validation, test = (GroupSplit(split, group) for split in splits.values())
                found = train_mask(train, validation, options, (circuit.model, group.name, desideratum.name))
                right = {"chosen": test.correct(found.patched), "every": test.correct(found.patched | True)}
            right["none"] = none
            row = _summary(group, desideratum.name, found, right, scene)
            rows.append((group, desideratum.name, found, is_selection(row)))
            summary.append(row)
            if row["n_heads"] and not is_selection(row):
                log(
                    f"{decoder.name}: group {group.letter}, {desideratum.name}: patching the heads that its mask "
                    "chose is not shown to do more than patching none, so it selects none"
                )
            given = answers_table(scene, right["chosen"], none)
            answers.append(given.assign(letter=group.letter, desideratum=desideratum.name))
    curves = [
        {"group": group.name, "desideratum": name, **point} for group, name, found, _ in rows for point in found.curve
    ]
    heads = [
        {"group": group.name, "desideratum": name, "layer": la, "head": h, "weight": w, "selected": bool(p and shown)}
        for group, name, found, shown in rows
        for (la, h), w, p in zip(group.heads, found.weights, found.patched, strict=True)
    ]
    named = pd.DataFrame(summary).assign(model=decoder.name, circuit=circuit.model)[COLUMNS]
    kept = pd.concat(answers, ignore_index=True).assign(model=decoder.name, circuit=circuit.model)[ANSWERS]
    return DcmTables(named, pd.DataFrame(curves, columns=CURVES), pd.DataFrame(heads, columns=HEADS), kept)


def is_selection(row: Mapping[str, object]) -> bool:
    """Whether a mask's heads carry anything: a mask always has a best choice on its validation pairs, also at chance.

    Null: with them patched the target is given as often as with none. Alternative: more often. Statistic: the
    difference over the test pairs, which chose nothing; shown where its 95% interval lies above 0. row: of the
    summary.
    """
    return bool(row["n_heads"]) and float(str(row["gain_low"])) > 0


def answers_table(
    scene: np.ndarray, correct: Bool[np.ndarray, " pair"], none: Bool[np.ndarray, " pair"]
) -> pd.DataFrame:
    """Which pairs come right with some heads patched and with none, pair by pair; pairs are numbered as they come."""
    columns = {"pair": np.arange(len(scene)), "scene": scene, "correct": correct, "none_correct": none}
    return pd.DataFrame({name: np.asarray(values).astype(int) for name, values in columns.items()})


def _summary(
    group: HeadGroup,
    desideratum: str,
    found: Training,
    right: dict[str, Bool[np.ndarray, " pair"]],
    scene: np.ndarray,
) -> dict[str, object]:
    """A row of the summary; `right` says which test pairs came right with chosen, every and no head patched.

    gain: accuracy with the chosen heads minus that with none, over the same pairs.
    """
    chosen = [head for head, patched in zip(group.heads, found.patched, strict=True) if patched]
    value, low, high = mean_interval(right["chosen"], scene)
    gain, gain_low, gain_high = difference_interval(right["chosen"], right["none"], scene)
    return {
        "group": group.name,
        "letter": group.letter,
        "desideratum": desideratum,
        "heads": " ".join(f"{layer}.{head}" for layer, head in chosen),
        "n_heads": len(chosen),
        "group_size": len(group.heads),
        "accuracy": value,
        "low": low,
        "high": high,
        "none_accuracy": float(right["none"].mean()),
        "gain": gain,
        "gain_low": gain_low,
        "gain_high": gain_high,
        "all_accuracy": float(right["every"].mean()),
        "n": len(scene),
    }


def _splits(
    decoder: Decoder, desideratum: Desideratum, plans: Sequence[EditPlan], options: DcmOptions
) -> dict[str, Split]:
    """Train, validation and test, with prefixes kept as far as memory goes: first where they are used most."""
    memory = options.memory
    if memory is None:
        memory = CPU_PREFIX_BYTES if decoder.device.type == "cpu" else activation_budget(decoder)
    found = {}
    for name in ("validation", "train", "test"):
        found[name] = Split(decoder, getattr(desideratum, name), plans, memory)
        memory -= found[name].memory()
        if not found[name].bank.fits:
            log(f"{decoder.name}: {desideratum.name}/{name}: prefixes do not fit, they are made batch by batch")
    return {name: found[name] for name in ("train", "validation", "test")}
