"""What do circuits answer? Many mean-ablated ones on many prompts, cut into blocks that fit in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entity_mech.engine.backgrounds import prepare_ablated
from entity_mech.engine.circuit_plan import CircuitPlan, plan_circuits
from entity_mech.engine.circuit_run import run_plan
from entity_mech.engine.clean import to_ids
from entity_mech.engine.memory import activation_budget
from entity_mech.engine.operations import normed
from entity_mech.engine.readout import predictions
from entity_mech.engine.store import role_positions
from entity_mech.errors import UserError
from entity_mech.models.decoder import Decoder
from entity_mech.progress import track
from entity_mech.task.tokens import TokenizedPrompts

PREPARED_SHARE = 0.5  # of the memory budget, for the keys and values that all circuits share
ROWS_SHARE = 1 / 16  # of the budget, for one copy of the rows in flight (a layer needs about five)
LEAST_PROMPTS = 8  # circuits are cut into blocks when a batch would hold fewer prompts than this
MARGIN = 1e-3  # logits closer than this (relative) are left to the full vocabulary


@dataclass(frozen=True)
class BatchSizes:
    """Prompts whose shared keys and values fit, and rows (streams of a prompt) in flight; from memory."""

    prompts: int
    rows: int


@dataclass(frozen=True)
class Batching:
    """label: of the progress in the log. budget: bytes for activations, by default what the device has."""

    label: str = "circuits"
    budget: int | None = None


def batch_sizes(decoder: Decoder, n_pos: int, budget: int | None = None) -> BatchSizes:
    """Batch sizes for prompts of n_pos tokens; `budget` in bytes, by default what the device has."""
    s = decoder.shape
    size = decoder.embedding.element_size()
    budget = budget or activation_budget(decoder)
    prepared = n_pos * s.n_layers * 2 * s.n_kv_heads * s.d_head * size
    return BatchSizes(
        prompts=max(1, int(budget * PREPARED_SHARE) // prepared),
        rows=max(1, int(budget * ROWS_SHARE) // (s.d_model * size)),
    )


def circuit_correct(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    means: Float[Tensor, "mean_pos layer head d_head"],
    roles: Sequence[str],
    masks: Bool[np.ndarray, "circuit role layer head"],
    *,
    label: str = "circuits",
    budget: int | None = None,
) -> Bool[np.ndarray, "circuit prompt"]:
    """Whether each circuit's most likely next token, over the whole vocabulary, is the correct object.

    As `circuit_gives` for the prompts' answers.
    """
    batching = Batching(label, budget)
    found = circuit_gives(decoder, prompts, means, roles, masks, prompts.answer[None], batching)
    return np.asarray(found[0])


def circuit_gives(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    means: Float[Tensor, "mean_pos layer head d_head"],
    roles: Sequence[str],
    masks: Bool[np.ndarray, "circuit role layer head"],
    targets: Int[np.ndarray, "target prompt"],
    batching: Batching = Batching(),
) -> Bool[np.ndarray, "target circuit prompt"]:
    """Whether each circuit's most likely next token, over the whole vocabulary, is a prompt's target.

    A circuit keeps the heads in its mask at the role tokens; every other head at every token gives its mean.
    Circuits given in one call share all that they have in common, so call once for many.

    Raises:
        UserError: two roles are one token somewhere, or stand in different orders in different prompts.
    """
    if "last" not in roles:
        roles = [*roles, "last"]
        masks = np.concatenate([masks, np.zeros_like(masks[:, :1])], 1)
    positions = np.stack([role_positions(prompts, role) for role in roles], 1)
    order = positions[0].argsort()
    if (np.diff(positions[:, order]) <= 0).any():
        names = ", ".join(roles)
        raise UserError(f"the roles {names} are not distinct tokens in the same order in every prompt")
    positions, masks = positions[:, order], masks[:, order]
    return gives_at(decoder, prompts, means, positions, masks, targets, batching)


def gives_at(
    decoder: Decoder,
    prompts: TokenizedPrompts,
    means: Float[Tensor, "mean_pos layer head d_head"],
    positions: Int[np.ndarray, "prompt role"],
    masks: Bool[np.ndarray, "circuit role layer head"],
    targets: Int[np.ndarray, "target prompt"],
    batching: Batching = Batching(),
) -> Bool[np.ndarray, "target circuit prompt"]:
    """As `circuit_gives`, at positions that increase in every prompt and end with its last token."""
    masks = np.ascontiguousarray(masks, dtype=bool)
    found = np.zeros((len(targets), len(masks), len(prompts)), dtype=bool)
    if not found.size:
        return found
    if (np.diff(positions) <= 0).any() or (positions[:, -1] != prompts.length - 1).any():
        raise ValueError("positions must increase in every prompt and end with its last token")
    # A role where no circuit keeps a head is an ablated token like any other.
    used = np.append(np.asarray(masks.any((0, 2, 3)))[:-1], True)
    positions, masks = positions[:, used], masks[:, used]
    sizes = batch_sizes(decoder, prompts.ids.shape[1], batching.budget)
    blocks = plan_blocks(masks, decoder.shape.n_kv_heads, max(1, sizes.rows // LEAST_PROMPTS))
    peak = max(plan.peak_rows for _, plan in blocks)
    step = min(sizes.prompts, max(1, sizes.rows // peak))
    starts = range(0, len(prompts), step)
    for start in track(starts, len(starts), f"{batching.label}: {len(masks)} circuits, {step} prompts a batch"):
        batch = prompts.rows(slice(start, start + step))
        ids, at = to_ids(decoder, batch.ids), to_ids(decoder, positions[start : start + step])
        background = prepare_ablated(decoder, ids, to_ids(decoder, batch.length), means)
        for members, plan in blocks:
            final = run_plan(decoder, background, at, plan)
            rows, circuit = np.unique(plan.final, return_inverse=True)
            final = final[:, torch.as_tensor(rows, device=final.device)]
            wanted = to_ids(decoder, targets[:, start : start + step])
            given = is_given(decoder, final, wanted, to_ids(decoder, batch.choices))
            found[:, members, start : start + step] = given.transpose(1, 2).cpu().numpy()[:, circuit]
    return found


def plan_blocks(
    masks: Bool[np.ndarray, "circuit role layer head"], n_kv_heads: int, most_rows: int
) -> list[tuple[np.ndarray, CircuitPlan]]:
    """Circuits in blocks of at most `most_rows` rows a prompt; those alike in the first layers together."""
    packed = np.packbits(masks.swapaxes(1, 2).reshape(len(masks), -1), axis=1)
    order = np.array(sorted(range(len(masks)), key=lambda i: packed[i].tobytes()))

    def split(members: np.ndarray) -> list[tuple[np.ndarray, CircuitPlan]]:
        plan = plan_circuits(masks[members], n_kv_heads)
        if plan.peak_rows <= most_rows or len(members) == 1:
            return [(members, plan)]
        half = len(members) // 2
        return split(members[:half]) + split(members[half:])

    return split(order)


@torch.inference_mode()
def is_given(
    decoder: Decoder,
    final: Float[Tensor, "prompt row d_model"],
    targets: Int[Tensor, "target prompt"],
    choices: Int[Tensor, "prompt choice"],
) -> Bool[Tensor, "target prompt row"]:
    """Whether the argmax over the whole vocabulary is each of a prompt's targets.

    A row whose targets are all clearly beaten by an object of the prompt is decided without unembedding.
    """
    few = torch.cat([targets.T, choices], 1)
    logits = (normed(final, decoder.norm_final) @ decoder.unembedding[few].transpose(1, 2)).flatten(0, 1)
    behind = logits.max(-1).values - logits[:, : len(targets)].max(-1).values
    open_rows = torch.nonzero(behind <= MARGIN * logits.abs().max(-1).values)[:, 0]
    given = torch.zeros((len(targets), len(logits)), dtype=torch.bool, device=final.device)
    n_rows = final.shape[1]
    given[:, open_rows] = predictions(decoder, final.flatten(0, 1)[open_rows]) == targets[:, open_rows // n_rows]
    return given.view(len(targets), -1, n_rows)
