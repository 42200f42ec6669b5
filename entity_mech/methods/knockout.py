"""Attention knockout: is the answer still found when one token may not look at another? (method, section 9)"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from entity_mech.engine.clean import CleanRun, run_clean, to_ids
from entity_mech.engine.memory import slices
from entity_mech.engine.prefix import EditPlan
from entity_mech.engine.readout import predictions
from entity_mech.engine.store import role_positions
from entity_mech.engine.suffix import Span, suffix_layer
from entity_mech.errors import UserError
from entity_mech.methods.head_patching import patching_batch
from entity_mech.methods.intervals import mean_interval
from entity_mech.models.decoder import Decoder
from entity_mech.progress import track
from entity_mech.task.seeds import generator
from entity_mech.task.tokens import TokenizedPrompts

RANDOM = "random"
# The paper's pairs (in its appendix) and a random token before each source as a control.
PAPER_PAIRS = (
    ("last", "correct_object"),
    ("last", "query_label"),
    ("query_label", "previous_label"),
    ("last", RANDOM),
    ("query_label", RANDOM),
)
COLUMNS = ["model", "source", "target", "layer", "accuracy", "low", "high", "n"]


@dataclass(frozen=True)
class KnockoutOptions:
    """pairs: (source role, target role or `random`). batch: prompts at a time, None chooses from memory."""

    pairs: tuple[tuple[str, str], ...] = PAPER_PAIRS
    seed: int = 0
    batch: int | None = None


def random_targets(
    prompts: TokenizedPrompts, source: str, avoid: Sequence[str], rng: np.random.Generator
) -> Int[np.ndarray, " prompt"]:
    """A random token before the source in each prompt, not the first token nor one of the roles to avoid."""
    before = role_positions(prompts, source)
    allowed = np.arange(prompts.ids.shape[1]) < before[:, None]
    allowed[:, 0] = False
    for role in avoid:
        has = np.flatnonzero(prompts.roles[role] >= 0)
        allowed[has, prompts.roles[role][has]] = False
    if not allowed.any(1).all():
        raise UserError(f"a prompt has no token before {source!r} that could be drawn as a random target")
    return np.asarray(np.where(allowed, rng.random(allowed.shape), -1).argmax(1))


def target_positions(
    prompts: TokenizedPrompts, source: str, target: str, options: KnockoutOptions
) -> Int[np.ndarray, " prompt"]:
    """Where a pair's target is in each prompt. Raises UserError when a prompt has it after its source."""
    if target == RANDOM:
        named = {role for pair in options.pairs for role in pair if role != RANDOM}
        return random_targets(prompts, source, sorted(named), generator(options.seed, "knockout", source))
    found = role_positions(prompts, target)
    if (found >= role_positions(prompts, source)).any():
        raise UserError(f"attention from {source!r} to {target!r}: the target does not come before the source")
    return found


def final_from_each_layer(
    decoder: Decoder, clean: CleanRun, span: Span, target: Int[Tensor, " row"]
) -> Float[Tensor, "first_layer row d_model"]:
    """Final residual streams when a row's first suffix token may not attend to `target` from layer l (0-based) up.

    l = 0..L-1. One suffix run for all: a row joins at its own l, below which nothing has changed. `clean` needs
    pre, k and v.
    """
    n_layers = decoder.shape.n_layers
    blocked = span.ordered(target)
    x = clean.pre[0].new_empty(0, len(span.position), decoder.shape.d_model)
    for layer in range(n_layers):
        joining = clean.pre[layer][span.row, span.position]
        x = torch.cat((x, joining[None]))
        k, v = (span.ordered(kept[layer][:, :, : span.n_prefix]) for kept in (clean.k, clean.v))
        x = suffix_layer(decoder, layer, x, span, (k, v), blocked=blocked)
    return x


def knockout_predictions(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    source: str,
    target: Int[np.ndarray, " prompt"],
    batch: int | None = None,
) -> Int[np.ndarray, "first_layer prompt"]:
    """Predictions with attention from a role to a position blocked from layer l up; row L has nothing blocked."""
    n_layers = decoder.shape.n_layers
    found = np.zeros((n_layers + 1, len(prompts)), np.int64)
    size = min(batch or patching_batch(decoder, prompts.ids.shape[1], n_layers), len(prompts))
    parts = slices(len(prompts), size)
    with torch.inference_mode():
        for rows in track(parts, len(parts), f"{decoder.name}: attention from {source} blocked"):
            part = prompts.rows(rows)
            clean = run_clean(decoder, to_ids(decoder, part.ids), {"pre", "k", "v"})
            span = EditPlan((source,), 0).span(part, decoder.device)
            final = final_from_each_layer(decoder, clean, span, to_ids(decoder, target[rows]))
            found[:-1, rows] = predictions(decoder, final).cpu().numpy()
            found[-1, rows] = predictions(decoder, clean.last(to_ids(decoder, part.length))).cpu().numpy()
    return found


def run_knockout(decoder: Decoder, prompts: TokenizedPrompts, options: KnockoutOptions) -> pd.DataFrame:
    """Accuracy for each pair and each layer from which attention is blocked.

    In the row `layer` = number of layers nothing is blocked.
    """
    rows = []
    for source, target in options.pairs:
        positions = target_positions(prompts, source, target, options)
        found = knockout_predictions(decoder, prompts, source, positions, options.batch)
        for layer, predicted in enumerate(found):
            value, low, high = mean_interval(predicted == prompts.answer, prompts.scene)
            rows.append((decoder.name, source, target, layer, value, low, high, len(predicted)))
    return pd.DataFrame(rows, columns=COLUMNS)
